"""What is not honoured, and how bad that is."""

from __future__ import annotations

import pytest

from pyproxy.config.invalid import Report, Unhonoured
from pyproxy.config.load import load_message
from pyproxy.config.unsupported import collect, is_severe
from pyproxy.config.view import View

CLUSTER = "envoy.config.cluster.v3.Cluster"


@pytest.mark.parametrize(
    "field",
    [
        "envoy.config.listener.v3.Listener.listener_filters",
        "envoy.config.listener.v3.FilterChain.filter_chain_match",
        "envoy.config.listener.v3.FilterChain.transport_socket",
        "envoy.config.cluster.v3.Cluster.outlier_detection",
        "envoy.config.cluster.v3.Cluster.transport_socket",
        "envoy.config.route.v3.VirtualHost.require_tls",
        "envoy.config.route.v3.RouteAction.request_mirror_policies",
        "envoy.config.bootstrap.v3.Bootstrap.dynamic_resources",
        "envoy.config.bootstrap.v3.Bootstrap.overload_manager",
    ],
)
def test_what_changes_traffic_or_security_is_severe(field: str) -> None:
    assert is_severe(field)


@pytest.mark.parametrize(
    "field",
    [
        "envoy.config.bootstrap.v3.Bootstrap.stats_sinks",
        "envoy.config.metrics.v3.StatsConfig.stats_matcher",
        "envoy.config.core.v3.Node.user_agent_name",
        "envoy.config.listener.v3.Listener.stat_prefix",
        "envoy.config.route.v3.Route.decorator",
        "envoy.config.cluster.v3.Cluster.alt_stat_name",
    ],
)
def test_what_only_people_and_dashboards_notice_is_harmless(field: str) -> None:
    assert not is_severe(field)


def test_fields_are_collected_with_their_places() -> None:
    loaded = load_message("name: a\nalt_stat_name: b\ntype: EDS\n", "c.yaml", CLUSTER)
    view = View(loaded.message, (), Report())
    view.text("name")
    assert collect(view) == [
        Unhonoured(("type",), f"{CLUSTER}.type", severe=True),
        Unhonoured(("alt_stat_name",), f"{CLUSTER}.alt_stat_name", severe=False),
    ]
