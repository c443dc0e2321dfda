"""What the RBAC network filter lets pass, counts and notes. The answers are those of Envoy 1.40."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.filters.network.rbac.compile import compile as compile_network_rbac
from pyproxy.filters.network.rbac.rbac import NetworkRbac
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.telemetry.metrics import StatsStore
from tests.config.compiling import CONTEXT, problems, view

ALL = "policies: {'a x': {permissions: [{any: true}], principals: [{any: true}]}}"


def built(text: str, stats: StatsStore) -> NetworkRbac:
    seen = view("envoy.extensions.filters.network.rbac.v3.RBAC", f"{{stat_prefix: s, {text}}}")
    made = NetworkRbac(compile_network_rbac(seen, CONTEXT), stats)
    assert problems(seen) == []
    return made


def connection() -> ConnectionInfo:
    info = ConnectionInfo()
    info.take_addresses(("10.0.0.1", 80), ("10.0.0.2", 1234))
    return info


def counted(stats: StatsStore, *names: str) -> dict[str, int]:
    found = {name: stats.counter(f"s.rbac.{name}").value for name in names}
    return {name: value for name, value in found.items() if value}


@pytest.mark.parametrize(
    ("text", "counter", "details"),
    [
        ("", "", ""),
        (f"rules: {{{ALL}}}", "allowed", ""),
        ("rules: {}", "denied", "rbac_access_denied_matched_policy[none]"),
        ("rules: {action: DENY}", "allowed", ""),
        (f"rules: {{action: DENY, {ALL}}}", "denied", "rbac_access_denied_matched_policy[a_x]"),
        ("rules: {action: LOG}", "allowed", ""),
    ],
)
def test_who_is_admitted(text: str, counter: str, details: str) -> None:
    stats, info = StatsStore(), connection()
    assert (built(text, stats).admit(info) is None) is bool(details)
    assert info.termination_details == details
    assert info.local_close_reason == ("rbac_deny_close" if details else "")
    expected = {counter: 1} if counter else {}
    assert counted(stats, "allowed", "denied", "shadow_allowed", "shadow_denied") == expected


@pytest.mark.parametrize(
    ("text", "counter", "noted"),
    [
        (
            f"shadow_rules: {{action: DENY, {ALL}}}",
            "shadow_denied",
            {"shadow_engine_result": "denied", "shadow_effective_policy_id": "a x"},
        ),
        ("shadow_rules: {action: DENY}", "shadow_allowed", {"shadow_engine_result": "allowed"}),
        (
            "shadow_rules: {}, shadow_rules_stat_prefix: t_",
            "t_.shadow_denied",
            {"t_shadow_engine_result": "denied"},
        ),
        (
            "shadow_rules: {}, shadow_rules_stat_prefix: t.",
            "t.shadow_denied",
            {"t.shadow_engine_result": "denied"},
        ),
    ],
)
def test_shadow_rules_are_counted_and_not_enforced(text: str, counter: str, noted: dict[str, str]) -> None:
    stats, info = StatsStore(), connection()
    assert built(text, stats).admit(info)
    assert counted(stats, counter, "allowed", "denied") == {counter: 1}
    assert info.dynamic_metadata == {"envoy.filters.network.rbac": noted}


@pytest.mark.parametrize(("rules", "hint"), [(ALL, True), ("policies: {}", False)])
def test_log_rules_leave_a_hint_beside_what_was_known(rules: str, hint: bool) -> None:
    info = connection()
    known: dict[str, Any] = {"proxy": {"a": 1}}
    info.dynamic_metadata = known
    assert built(f"rules: {{action: LOG, {rules}}}", StatsStore()).admit(info)
    assert info.dynamic_metadata == {"proxy": {"a": 1}, "envoy.common": {"access_log_hint": hint}}


@pytest.mark.parametrize("prefix", ["p.", "a:b"])
def test_a_stat_prefix_stays_as_it_is(prefix: str) -> None:
    stats = StatsStore()
    text = f"{{stat_prefix: '{prefix}', rules: {{action: DENY}}}}"
    seen = view("envoy.extensions.filters.network.rbac.v3.RBAC", text)
    NetworkRbac(compile_network_rbac(seen, CONTEXT), stats).admit(connection())
    assert stats.counter(f"{prefix.rstrip('.')}.rbac.allowed").value == 1
