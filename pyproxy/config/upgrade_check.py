"""Compiles `upgrade_configs` of connection managers and routes: which protocols may be asked for instead of HTTP.

Envoy: envoy.config.route.v3.RouteAction.UpgradeConfig, HttpConnectionManager.UpgradeConfig.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyproxy.config.view import View

Upgrades = tuple[tuple[bytes, bool], ...]
"""(protocol in lower case, allowed) of each; CONNECT stands for itself."""


def compile_upgrades(configs: Iterable[View]) -> Upgrades:
    """Each type stands once."""
    found: dict[bytes, bool] = {}
    for config in configs:
        name = config.text("upgrade_type").lower()
        if name.encode() in found:
            config.fail("upgrade_type", f"{name!r} stands twice")
        enabled = config.wrapped("enabled")
        found[name.encode()] = enabled is None or bool(enabled)
    return tuple(found.items())
