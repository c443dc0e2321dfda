"""The RBAC network filter as a value."""

from __future__ import annotations

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.filters.common.rbac.config import Action, RbacConfig
from pyproxy.filters.network.rbac.compile import compile as compile_network_rbac
from pyproxy.filters.network.rbac.config import NetworkRbacConfig
from tests.config.compiling import CONTEXT, compiled, listener, problems, unread, view

RBAC = "envoy.extensions.filters.network.rbac.v3.RBAC"
DENY = RbacConfig(Action.DENY)
HEADER = "{policies: {p: {permissions: [{header: {name: a}}], principals: [{any: true}]}}}"


@pytest.mark.parametrize(
    ("text", "value", "listed"),
    [
        ("{stat_prefix: s}", NetworkRbacConfig("s"), []),
        ("{stat_prefix: s, rules: {}}", NetworkRbacConfig("s", RbacConfig()), []),
        ("{stat_prefix: s, rules: {action: DENY}}", NetworkRbacConfig("s", DENY), []),
        (
            "{stat_prefix: s, shadow_rules: {action: DENY}, shadow_rules_stat_prefix: t}",
            NetworkRbacConfig("s", None, DENY, "t"),
            [],
        ),
        ("{stat_prefix: s, enforcement_type: CONTINUOUS}", NetworkRbacConfig("s"), []),
        ("{stat_prefix: s, delay_deny: 1s}", NetworkRbacConfig("s"), ["delay_deny"]),
        (
            "{stat_prefix: s, rules: {audit_logging_options: {audit_condition: ON_DENY}}}",
            NetworkRbacConfig("s", RbacConfig()),
            ["audit_logging_options"],
        ),
    ],
)
def test_a_filter_becomes_a_value(text: str, value: NetworkRbacConfig, listed: list[str]) -> None:
    seen = view(RBAC, text)
    assert compile_network_rbac(seen, CONTEXT) == value
    assert problems(seen) == []
    assert unread(seen) == listed


@pytest.mark.parametrize("field", ["matcher", "shadow_matcher"])
def test_matchers_are_refused(field: str) -> None:
    with pytest.raises(InvalidConfig, match=f"{field}: matchers are not supported yet"):
        compile_network_rbac(view(RBAC, f"{{stat_prefix: s, {field}: {{}}}}"), CONTEXT)


@pytest.mark.parametrize("field", ["rules", "shadow_rules"])
def test_rules_about_headers_are_refused(field: str) -> None:
    seen = view(RBAC, f"{{stat_prefix: s, {field}: {HEADER}}}")
    compile_network_rbac(seen, CONTEXT)
    (told,) = problems(seen)
    assert f"{field}.policies.p.permissions[0].header: a connection has no headers" in told


def test_it_is_not_the_last_of_a_chain() -> None:
    only = listener(config={"@type": f"type.googleapis.com/{RBAC}", "stat_prefix": "s"})
    values, faults, _ = compiled({"static_resources": {"listeners": [only]}})
    assert values is None
    assert "is not a terminal one" in faults[0]
