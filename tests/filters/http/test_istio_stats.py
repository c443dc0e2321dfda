"""istio.stats: its configuration, expressions of labels, and where it counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.istio_stats import IstioStatsConfig, LabelRule, Reporter
from pyproxy.filters.common.network_filter import STAYS
from pyproxy.filters.http import istio_stats
from pyproxy.filters.http.istio_stats import IstioStatsFilterConfig, expression
from pyproxy.http.message import Request, Response
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.telemetry.metrics import StatsStore
from tests.config.compiling import CONTEXT, unread, view
from tests.telemetry.exchanges import forwarded

NODE = NodeConfig(id="node-1", cluster="service-1", metadata={"WORKLOAD_NAME": "us", "ISTIO_VERSION": "1.30"})


def test_compiles() -> None:
    seen = view(
        "stats.PluginConfig",
        "{disable_host_header_fallback: true, reporter: SERVER_GATEWAY, tcp_reporting_duration: 5s,"
        " metrics: [{name: requests_total, dimensions: {b: \"'x'\", a: request.method}, tags_to_remove: [source_app]},"
        " {name: request_bytes, drop: true}], definitions: [{name: mine, value: '1'}]}",
    )
    assert istio_stats.compile(seen, CONTEXT).stats == IstioStatsConfig(
        Reporter.WAYPOINT,
        host_fallback=False,
        rules=(
            LabelRule("requests_total", remove=("source_app",), add=(("a", "request.method"), ("b", "'x'"))),
            LabelRule("request_bytes", drop=True),
        ),
    )
    assert unread(seen) == ["definitions"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'literal'", "literal"),
        ('"literal"', "literal"),
        ("request.method", "POST"),
        ("request.host", "h:1"),
        ("request.url_path", "/up/x"),
        ("request.headers['x-b']", "vb"),
        ("request.headers['x-none']", ""),
        ('response.headers["x-up"]', "1"),
        ("response.code", "200"),
        ("node.id", "node-1"),
        ("node.metadata['WORKLOAD_NAME']", "us"),
        ("node.metadata['NONE']", "unknown"),
    ],
)
def test_expressions(text: str, value: str) -> None:
    assert expression(text, NODE)(*forwarded()) == value


def test_an_expression_that_is_not_understood_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert expression("request.size > 3 ? 'a' : 'b'", NODE)(*forwarded()) == "unknown"
    assert "is not understood" in caplog.text


def runtime(store: StatsStore) -> Any:
    return SimpleNamespace(stats=store, node=NODE)


def names(store: StatsStore) -> set[str]:
    return {name.partition("\x1f")[0] for name in store.scope("istiocustom").stats}


async def test_requests_are_counted_when_they_are_over() -> None:
    store = StatsStore()
    config = IstioStatsFilterConfig(IstioStatsConfig())
    request, response = forwarded()

    async def upstream(request: Request) -> Response:
        return response

    assert await config.build(runtime(store))(request, upstream) is response
    assert names(store) == set()
    config.observe(runtime(store))(request, response)
    assert "istio_requests_total" in names(store)
    assert "istio_build" in names(store)


def test_sessions_are_counted_at_their_end() -> None:
    store = StatsStore()
    made = IstioStatsFilterConfig(IstioStatsConfig()).build(runtime(store))
    assert made.admit(ConnectionInfo()) is STAYS
    observe = made.observe_sessions()
    request, _ = forwarded()
    for kind in ("TcpUpstreamConnected", "TcpConnectionEnd"):
        request.info.log_type = kind
        observe(request, None)
    counters = store.scope("istiocustom").stats
    (opened,) = [stat for name, stat in counters.items() if name.startswith("istio_tcp_connections_opened_total")]
    assert opened.value == 1
