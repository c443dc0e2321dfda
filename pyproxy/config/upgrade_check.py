"""Checks `upgrade_configs` of connection managers and routes: none is allowed yet, and mistakes are told all the same.

Envoy: envoy.config.route.v3.RouteAction.UpgradeConfig, HttpConnectionManager.UpgradeConfig.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyproxy.config.view import View


def check_upgrade_types(configs: Iterable[View]) -> None:
    """Each type stands once."""
    seen: set[str] = set()
    for config in configs:
        name = config.text("upgrade_type").lower()
        if name in seen:
            config.fail("upgrade_type", f"{name!r} stands twice")
        seen.add(name)


def upgrade_enabled(config: View) -> bool:
    enabled = config.wrapped("enabled")
    return enabled is None or bool(enabled)
