"""Access logs that go to collectors."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.access_log import AccessLogConfig, Map, RecordEntry, ServiceEntry, SinkKind
from pyproxy.config.export import ExportKind
from pyproxy.config.format import parse_format
from tests.config.compiling import bootstrap, cluster, compiled, listener, manager

TYPE = "type.googleapis.com/envoy.extensions.access_loggers"
SERVICE = {"envoy_grpc": {"cluster_name": "a", "authority": "x"}, "initial_metadata": [{"key": "K", "value": "v"}]}


def log(kind: str, common: dict[str, Any] | None = None, **fields: Any) -> tuple[AccessLogConfig | None, list[str]]:
    said = {"log_name": "l", "grpc_service": SERVICE, "transport_api_version": "V3", **(common or {})}
    config = {"@type": f"{TYPE}.{kind}", "common_config": said, **fields}
    hcm = manager(access_log=[{"name": "log", "typed_config": config}])
    values, faults, _ = compiled(bootstrap([listener("one", hcm)], [cluster("a")]))
    if values is None:
        return None, faults
    (found,) = values.listeners[0].filter_chains[0].filters[0].config.access_logs
    return found, faults


def test_the_access_log_service() -> None:
    found, faults = log(
        "grpc.v3.HttpGrpcAccessLogConfig",
        {
            "buffer_flush_interval": "2s",
            "buffer_size_bytes": 7,
            "custom_tags": [{"tag": "t", "literal": {"value": "v"}}],
        },
        additional_request_headers_to_log=["X-A"],
    )
    assert faults == []
    assert found is not None
    assert found.sink is SinkKind.COLLECTOR
    assert found.target is not None
    assert (found.target.kind, found.target.cluster, found.target.authority) == (ExportKind.ALS_HTTP, "a", "x")
    assert (found.target.flush_interval, found.target.flush_bytes, found.target.log_name) == (2.0, 7, "l")
    assert found.target.headers == (("k", "v"),)
    assert isinstance(found.entry, ServiceEntry)
    assert found.entry.request_headers == (b"x-a",)
    assert [tag.name for tag in found.entry.tags] == ["t"]


def test_open_telemetry() -> None:
    inner = {"kvlist_value": {"values": [{"key": "k", "value": {"string_value": "%PROTOCOL%"}}]}}
    found, faults = log(
        "open_telemetry.v3.OpenTelemetryAccessLogConfig",
        body={"array_value": {"values": [inner]}},
        resource_attributes={"values": [{"key": "r", "value": {"string_value": "v"}}]},
        disable_builtin_labels=True,
    )
    assert faults == []
    assert found is not None
    assert found.entry == RecordEntry((Map((("k", parse_format("%PROTOCOL%")),)),))
    assert found.target is not None
    assert found.target.attributes == (("r", "v"),)
    assert not found.target.builtin_labels


@pytest.mark.parametrize(
    ("kind", "common", "fields", "fault"),
    [
        ("grpc.v3.HttpGrpcAccessLogConfig", {"transport_api_version": "V2"}, {}, "V2 is not supported"),
        (
            "grpc.v3.HttpGrpcAccessLogConfig",
            {"grpc_service": {"envoy_grpc": {"cluster_name": "b"}}},
            {},
            "unknown cluster 'b'",
        ),
        (
            "grpc.v3.HttpGrpcAccessLogConfig",
            {"grpc_service": {"google_grpc": {"target_uri": "b", "stat_prefix": "x"}}},
            {},
            "Google's gRPC library is not used here",
        ),
        (
            "open_telemetry.v3.OpenTelemetryAccessLogConfig",
            {},
            {"body": {"int_value": "1"}},
            "int_value is not for access logs",
        ),
        (
            "open_telemetry.v3.OpenTelemetryAccessLogConfig",
            {},
            {"body": {"string_value": "%NONSENSE%"}},
            "NONSENSE",
        ),
    ],
)
def test_what_cannot_be(kind: str, common: dict[str, Any], fields: dict[str, Any], fault: str) -> None:
    found, faults = log(kind, common, **fields)
    assert found is None
    assert [fault in one for one in faults] == [True]
