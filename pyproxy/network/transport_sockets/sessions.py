"""TLS sessions: resumed by clients at any of our workers, and by us at upstreams."""

from __future__ import annotations

import hmac
import ssl
from collections import OrderedDict, deque
from functools import partial
from typing import Final, NamedTuple

from pyproxy import openssl
from pyproxy.config.tls import DownstreamTlsConfig

_MOST_NAMES: Final = 64
"""Names that may be the choice of a downstream: more than these are not remembered."""


def let_resume(context: ssl.SSLContext, config: DownstreamTlsConfig) -> None:
    """As `config` says, at this worker and at those beside it."""
    sessions = config.sessions
    if not sessions.tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0  # else TLS 1.3 has tickets that name what is kept here
    if not openssl.usable():
        return
    if sessions.tickets:
        openssl.set_ticket_key(context, sessions.ticket_key or _own_key(config))
    if not sessions.kept:
        openssl.forget_sessions(context)
    if sessions.seconds:
        openssl.set_session_timeout(context, sessions.seconds)


def _own_key(config: DownstreamTlsConfig) -> bytes:
    """The same in all workers, and another one wherever anything else is trusted or shown: a session is never resumed
    where its client would not have got it."""
    checks = config.common.validation
    facts = (
        [certificate.chain for certificate in config.common.certificates],
        (checks.trusted_ca, checks.crl, checks.only_leaf_crl, checks.accept_untrusted, checks.allow_expired),
        (checks.sans, sorted(checks.spki_pins), sorted(checks.certificate_pins), checks.trust_domains),
        (config.require_client_certificate, config.common.alpn),
    )
    mac = partial(hmac.digest, openssl.SECRET, digest="sha512")
    about = repr(facts).encode()
    return (mac(msg=b"1" + about) + mac(msg=b"2" + about))[: openssl.TICKET_KEY_BYTES]


class Sessions:
    """What upstreams gave us to come back with: for each name at most so many, the newest first."""

    __slots__ = ("_by_name", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_name: OrderedDict[str, deque[_Kept]] = OrderedDict()

    def keep(self, name: str, session: bytes, once: bool) -> None:
        """It may be resumed with the server of that name, `once` or again and again."""
        found = self._by_name.get(name)
        if found is None:
            if len(self._by_name) >= _MOST_NAMES:
                self._by_name.popitem(last=False)
            found = self._by_name[name] = deque(maxlen=self._most)
        found.append(_Kept(session, once))

    def take(self, name: str) -> bytes | None:
        """For a new connection; None for a full handshake."""
        found = self._by_name.get(name)
        if not found:
            return None
        self._by_name.move_to_end(name)
        newest = found[-1]
        if newest.once:
            found.pop()
        return newest.session

    def clear(self) -> None:
        """A peer was refused: who resumes a session sees no other certificate than that of its beginning, even where
        the peer has a better one by now."""
        self._by_name.clear()


class _Kept(NamedTuple):
    session: bytes
    once: bool
