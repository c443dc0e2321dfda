"""What the bootstrap says of statistics."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.address import AddressConfig
from pyproxy.config.export import ExportKind
from pyproxy.config.matchers import StringKind, StringMatch
from pyproxy.config.stats import BucketRule, SinkConfig, SinkKind, StatsConfig, StatsMatcher, TagRule
from tests.config.compiling import bootstrap, cluster, compiled

UDP = {"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": 8125}}
TYPE = "type.googleapis.com/envoy"


def stats(**fields: Any) -> StatsConfig:
    values, faults, _ = compiled(bootstrap([], [cluster("a")], **fields))
    assert faults == []
    assert values is not None
    return values.stats


def sink(kind: str, **fields: Any) -> SinkConfig:
    (found,) = stats(stats_sinks=[{"name": "s", "typed_config": {"@type": f"{TYPE}.{kind}", **fields}}]).sinks
    return found


def test_tags() -> None:
    tags = [
        {"tag_name": "fixed", "fixed_value": "v"},
        {"tag_name": "own", "regex": r"^cluster\.((.+?)\.)"},
        {"tag_name": "envoy.cluster_name"},
    ]
    made = stats(stats_config={"stats_tags": tags, "use_all_default_tags": False}, stats_flush_interval="2s")
    assert made.tags == (("fixed", "v"),)
    assert made.tag_rules == (TagRule("own", r"^cluster\.((.+?)\.)"), TagRule("envoy.cluster_name"))
    assert (made.default_tags, made.flush_interval) == (False, 2.0)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"reject_all": True}, StatsMatcher((StringMatch(StringKind.PREFIX, ""),))),
        ({"reject_all": False}, StatsMatcher()),
        ({"exclusion_list": {"patterns": [{"prefix": "a"}]}}, StatsMatcher((StringMatch(StringKind.PREFIX, "a"),))),
        (
            {"inclusion_list": {"patterns": [{"suffix": "b"}]}},
            StatsMatcher((StringMatch(StringKind.SUFFIX, "b"),), inclusive=True),
        ),
    ],
)
def test_matchers(said: dict[str, Any], wanted: StatsMatcher) -> None:
    assert stats(stats_config={"stats_matcher": said}).matcher == wanted


def test_buckets() -> None:
    said = {"match": {"prefix": "cluster."}, "buckets": [1, 5, 10.5]}
    assert stats(stats_config={"histogram_bucket_settings": [said]}).buckets == (
        BucketRule(StringMatch(StringKind.PREFIX, "cluster."), (1.0, 5.0, 10.5)),
    )


def test_sinks() -> None:
    address = AddressConfig("127.0.0.1", 8125)
    assert sink("config.metrics.v3.StatsdSink", address=UDP) == SinkConfig(
        SinkKind.STATSD, "envoy", address, most_bytes=512
    )
    assert sink("config.metrics.v3.StatsdSink", tcp_cluster_name="a", prefix="p").tcp_cluster == "a"
    dog = sink("config.metrics.v3.DogStatsdSink", address=UDP, max_bytes_per_datagram=1400)
    assert (dog.kind, dog.most_bytes) == (SinkKind.DOGSTATSD, 1400)
    otlp = sink(
        "extensions.stat_sinks.open_telemetry.v3.SinkConfig",
        grpc_service={"envoy_grpc": {"cluster_name": "a"}},
        report_counters_as_deltas=True,
        emit_tags_as_attributes=False,
    )
    assert otlp.target is not None
    assert (otlp.target.kind, otlp.target.cluster) == (ExportKind.OTLP_GRPC, "a")
    assert (otlp.counter_deltas, otlp.histogram_deltas, otlp.tags_as_attributes) == (True, False, False)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"stats_config": {"stats_tags": [{"tag_name": "t", "regex": "x"}]}}, "has no group"),
        ({"stats_config": {"stats_tags": [{"tag_name": "t", "regex": "("}]}}, "cannot be used"),
        (
            {
                "stats_sinks": [
                    {
                        "name": "s",
                        "typed_config": {"@type": f"{TYPE}.config.metrics.v3.StatsdSink", "tcp_cluster_name": "b"},
                    }
                ]
            },
            "unknown cluster 'b'",
        ),
    ],
)
def test_what_cannot_be(fields: dict[str, Any], fault: str) -> None:
    values, faults, _ = compiled(bootstrap([], [cluster("a")], **fields))
    assert values is None
    assert [fault in one for one in faults] == [True]
