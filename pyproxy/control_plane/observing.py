"""What the proxies of a mesh tell of the requests that pass: access logs and spans."""

from __future__ import annotations

from typing import Any, Final

from pyproxy.control_plane.mesh import Telemetry

URL: Final = "type.googleapis.com/"
COLLECTOR: Final = "traces"
"""The cluster of the collector."""

_LOGGERS: Final = f"{URL}envoy.extensions.access_loggers."
_FIELDS: Final = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "duration_ms": "%DURATION%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    "upstream": "%UPSTREAM_HOST%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "trace_id": "%TRACE_ID%",
}


def observing(telemetry: Telemetry, node: str, listener: str) -> dict[str, Any]:
    """Fields of a connection manager. `node` and `listener` say in each line who wrote it."""
    made: dict[str, Any] = {}
    if telemetry.access_log:
        made["access_log"] = [_access_log(telemetry.access_log, {"proxy": node, "listener": listener, **_FIELDS})]
    if telemetry.traces is not None:
        made["tracing"] = _tracing(telemetry, node)
    return made


def _access_log(where: str, fields: dict[str, str]) -> dict[str, Any]:
    log_format = {"json_format": fields}
    if where == "stdout":
        kind = {"@type": f"{_LOGGERS}stream.v3.StdoutAccessLog", "log_format": log_format}
        return {"name": "envoy.access_loggers.stdout", "typed_config": kind}
    kind = {"@type": f"{_LOGGERS}file.v3.FileAccessLog", "path": where, "log_format": log_format}
    return {"name": "envoy.access_loggers.file", "typed_config": kind}


def _tracing(telemetry: Telemetry, node: str) -> dict[str, Any]:
    uri = {"uri": f"http://{telemetry.traces}/v1/traces", "cluster": COLLECTOR, "timeout": "1s"}
    provider = {
        "@type": f"{URL}envoy.config.trace.v3.OpenTelemetryConfig",
        "http_service": {"http_uri": uri},
        "service_name": node,
    }
    return {
        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": provider},
        "random_sampling": {"value": telemetry.sampling},
        "spawn_upstream_span": True,
    }
