"""Statistics as statsd and DogStatsD get them."""

from __future__ import annotations

import socket

from pyproxy.config.address import AddressConfig
from pyproxy.config.stats import SinkConfig, SinkKind
from pyproxy.server.stats_sinks.flush import Flush
from pyproxy.server.stats_sinks.statsd import StatsdSink
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.telemetry.stat_tags import TagExtractor
from tests.server.stats_sinks.surroundings import NOBODY
from tests.support.ports import LOOPBACK


def flush() -> Flush:
    snapshot = StatsSnapshot(
        counters={"cluster.blue.upstream_rq_200": 7},
        gauges={"cluster.blue.upstream_cx_active": 2, "server.never_set": 0},
        histograms={"http.in.downstream_rq_time": {3: 4, 100: 1}},
        intervals={"http.in.downstream_rq_time": {3: 4, 100: 1}},
        used={"cluster.blue.upstream_rq_200", "cluster.blue.upstream_cx_active"},
    )
    return Flush(snapshot, TagExtractor(), {"cluster.blue.upstream_rq_200": 5})


def test_plain_lines() -> None:
    sink = StatsdSink(SinkConfig(SinkKind.STATSD, "p", most_bytes=10_000), NOBODY)
    assert b"\n".join(sink.prepare(flush())).decode().split("\n") == [
        "p.cluster.blue.upstream_rq_200:5|c",
        "p.cluster.blue.upstream_cx_active:2|g",
        "p.http.in.downstream_rq_time:3|ms|@0.25",
        "p.http.in.downstream_rq_time:105|ms",
    ]


def test_lines_with_tags() -> None:
    sink = StatsdSink(SinkConfig(SinkKind.DOGSTATSD, "p", most_bytes=10_000), NOBODY)
    assert b"\n".join(sink.prepare(flush())).decode().split("\n") == [
        "p.cluster.upstream_rq:5|c|#envoy.response_code:200,envoy.cluster_name:blue",
        "p.cluster.upstream_cx_active:2|g|#envoy.cluster_name:blue",
        "p.http.downstream_rq_time:3|ms|@0.25|#envoy.http_conn_manager_prefix:in",
        "p.http.downstream_rq_time:105|ms|#envoy.http_conn_manager_prefix:in",
    ]


def test_a_datagram_holds_whole_lines() -> None:
    pieces = StatsdSink(SinkConfig(SinkKind.STATSD, "p", most_bytes=80), NOBODY).prepare(flush())
    assert len(pieces) == 2
    assert all(len(piece) <= 80 for piece in pieces)
    assert sum(piece.count(b"\n") + 1 for piece in pieces) == 4


async def test_datagrams_arrive() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((LOOPBACK, 0))
        receiver.settimeout(5)
        address = AddressConfig(LOOPBACK, receiver.getsockname()[1])
        sink = StatsdSink(SinkConfig(SinkKind.STATSD, "p", address, most_bytes=10_000), NOBODY)
        await sink.send(sink.prepare(flush()))
        assert receiver.recv(10_000).startswith(b"p.cluster.blue.upstream_rq_200:5|c\n")
        sink.close()
