"""Whether a connection may be.

A network filter. Envoy: envoy.filters.network.rbac. Security posture: trusts no downstream.
"""

from __future__ import annotations

from typing import Any, Final

from pyproxy.filters.common.network_filter import STAYS, Leave
from pyproxy.filters.common.rbac.config import Action
from pyproxy.filters.common.rbac.engine import denial_details
from pyproxy.filters.common.rbac.facts import RbacFacts
from pyproxy.filters.network.rbac.config import NetworkRbacConfig
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.rbac_stats import RbacStats

_NAMESPACE: Final = "envoy.filters.network.rbac"
_CLOSE_REASON: Final = "rbac_deny_close"


class NetworkRbac:
    """Shared by all connections of a filter chain."""

    def __init__(self, config: NetworkRbacConfig, stats: StatsStore) -> None:
        self._rules = None if config.rules is None else config.rules.build()
        self._shadow = None if config.shadow_rules is None else config.shadow_rules.build()
        self._shadow_prefix = config.shadow_stat_prefix
        self._stats = RbacStats(stats, config.stat_prefix, config.shadow_stat_prefix)

    def admit(self, info: ConnectionInfo) -> Leave | None:
        facts = RbacFacts(info)
        self._look_on(facts)
        if self._rules is None:
            return STAYS
        allowed, policy = self._rules.decide(facts)
        if self._rules.action is Action.LOG:
            _note(info, "envoy.common", access_log_hint=policy is not None)
        if allowed:
            self._stats.allowed.value += 1
            return STAYS
        self._stats.denied.value += 1
        info.termination_details = denial_details(policy)
        info.local_close_reason = _CLOSE_REASON
        return None

    def _look_on(self, facts: RbacFacts) -> None:
        """What the shadow rules would do is counted, and noted for logs."""
        if self._shadow is None:
            return
        allowed, policy = self._shadow.decide(facts)
        (self._stats.shadow_allowed if allowed else self._stats.shadow_denied).value += 1
        prefix = self._shadow_prefix
        found = {f"{prefix}shadow_engine_result": "allowed" if allowed else "denied"}
        if policy:
            found[f"{prefix}shadow_effective_policy_id"] = policy
        _note(facts.connection, _NAMESPACE, **found)


def _note(info: ConnectionInfo, namespace: str, **values: Any) -> None:
    if info.dynamic_metadata is None:
        info.dynamic_metadata = {}
    info.dynamic_metadata.setdefault(namespace, {}).update(values)
