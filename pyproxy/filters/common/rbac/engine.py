"""The live rules: whether facts are allowed, and by which policy."""

from __future__ import annotations

import logging
import re
from typing import Final

from cryptography import x509

from pyproxy.filters.common.rbac.config import Action, RbacConfig
from pyproxy.filters.common.rbac.facts import RbacFacts
from pyproxy.filters.common.rbac.predicates import any_of

log = logging.getLogger("pyproxy.filters.rbac")

_UNREADABLE: Final = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What is raised where a certificate, which is read only when a rule asks for it, cannot be."""
_SPACE: Final = re.compile(r"\s", re.ASCII)


class RbacEngine:
    """Shared by all connections. The first policy that fits, in the order of their names, decides."""

    __slots__ = ("_if_matched", "_policies", "action")

    def __init__(self, config: RbacConfig) -> None:
        self.action = config.action
        self._if_matched = config.action is Action.ALLOW
        self._policies = tuple((one.name, any_of(one.permissions), any_of(one.principals)) for one in config.policies)

    def decide(self, facts: RbacFacts) -> tuple[bool, str | None]:
        """Whether it is allowed, and the name of the policy that fits; None where none does.

        ALLOW allows what fits, DENY what does not, LOG everything.
        """
        try:
            matched = self._match(facts)
        except _UNREADABLE as error:
            # OpenSSL has trusted a certificate that cannot be read here. Who it is from is not known, so it is nobody
            # whom a rule lets in, and a rule that keeps somebody out may be about him.
            log.debug("a certificate cannot be read: %s", error)
            return self.action is Action.LOG, None
        allowed = self.action is Action.LOG or (matched is not None) is self._if_matched
        return allowed, matched

    def _match(self, facts: RbacFacts) -> str | None:
        for name, permits, identifies in self._policies:
            if permits(facts) and identifies(facts):
                return name
        return None

    def __repr__(self) -> str:
        return f"<RbacEngine {self.action.value}, {len(self._policies)} policies>"


def denial_details(policy: str | None) -> str:
    """Why something was denied, as logs show it; a blank in a name would look like the end of a field (Envoy)."""
    return f"rbac_access_denied_matched_policy[{_SPACE.sub('_', policy or 'none')}]"
