"""Filters whose configuration comes by itself: what can be said of them before it comes."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.discovered import DiscoveredConfig
from tests.config.compiling import ROUTER, bootstrap, cluster, compiled, listener, manager

HEALTH = "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck"
ECHO = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"


def discovered(name: str = "hc", *types: str, **more: Any) -> dict[str, Any]:
    source = {"path_config_source": {"path": "/dev/null"}}
    return {"name": name, "config_discovery": {"config_source": source, "type_urls": types or [HEALTH], **more}}


def http(*filters: dict[str, Any]) -> dict[str, Any]:
    return bootstrap([listener(config=manager(http_filters=list(filters)))], [cluster()])


def test_a_filter_that_comes_later() -> None:
    default = {"@type": HEALTH, "pass_through_mode": False}
    made, faults, report = compiled(http(discovered(default_config=default), ROUTER))
    assert not faults
    assert not report.unhonoured
    assert made is not None
    assert made.is_dynamic
    (found,) = made.listeners[0].filters_elsewhere
    assert isinstance(found, DiscoveredConfig)
    assert found.name == "hc"
    assert found.default.type_name in HEALTH


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (http(discovered("hc", "a/b.HealthCheck"), ROUTER), "no HTTP filter of type b.HealthCheck is supported"),
        (http(discovered(), discovered()), "is not a terminal one"),
        (http(discovered(apply_default_config_without_warming=True), ROUTER), "has no default_config to apply"),
        (
            http(discovered(default_config=ROUTER["typed_config"]), ROUTER),
            "filter config has type URL envoy.extensions.filters.http.router.v3.Router but expect",
        ),
        (
            bootstrap([listener(filter_chains=[{"filters": [discovered("e", ECHO)]}])], [cluster()]),
            "the last network filter cannot come from elsewhere yet",
        ),
    ],
)
def test_what_cannot_be(config: dict[str, Any], reason: str) -> None:
    _, faults, _ = compiled(config)
    assert any(reason in fault for fault in faults), faults
