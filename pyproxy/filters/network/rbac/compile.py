"""Compiles the RBAC network filter: protobuf -> `NetworkRbacConfig`."""

from __future__ import annotations

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.rbac.compile import compile_rbac
from pyproxy.filters.common.rbac.config import RbacConfig
from pyproxy.filters.network.rbac.config import NetworkRbacConfig


def compile(view: View, context: CompileContext) -> NetworkRbacConfig:  # noqa: A001 (the name that every filter has)
    """An `RBAC`. `delay_deny` is not read: who is denied is closed at once."""
    del context
    for name in ("matcher", "shadow_matcher"):
        if view.has(name):
            view.fail(name, "matchers are not supported yet", expected=name.replace("matcher", "rules"))
    # Whether it is checked once or with all bytes: nothing that rules look at changes after a connection is there.
    view.ignore("enforcement_type")
    return NetworkRbacConfig(
        stat_prefix=view.text("stat_prefix"),
        rules=_rules(view, "rules"),
        shadow_rules=_rules(view, "shadow_rules"),
        shadow_stat_prefix=view.text("shadow_rules_stat_prefix"),
    )


def _rules(view: View, name: str) -> RbacConfig | None:
    rules = view.child(name)
    return None if rules is None else compile_rbac(rules, of_requests=False)
