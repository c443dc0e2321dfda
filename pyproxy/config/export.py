"""Where telemetry is sent to, as a value: the cluster of a collector and how it is spoken to.

Envoy: envoy.config.core.v3.GrpcService and HttpService. The compile functions are in `config.export_compile`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ExportKind(Enum):
    """What is spoken to a collector."""

    OTLP_GRPC = "otlp_grpc"
    OTLP_HTTP = "otlp_http"
    ZIPKIN = "zipkin"
    ALS_HTTP = "als_http"
    """Envoy's access log service, for HTTP requests."""
    ALS_TCP = "als_tcp"
    OTLP_LOGS = "otlp_logs"
    """OpenTelemetry log records, over gRPC."""


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """One collector. `timeout` in seconds for one export, 0 for none of its own."""

    kind: ExportKind
    cluster: str
    authority: str = ""
    path: str = ""
    """Of the URL, for HTTP."""
    timeout: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    """Of the resource that the telemetry is about (OpenTelemetry)."""
    log_name: str = ""
    """For access logs."""
    flush_interval: float = 0.0
    """Seconds that an item may wait; 0 for the default of the kind."""
    builtin_labels: bool = True
    """The resource of log records tells the node (Envoy: zone_name, cluster_name, node_name)."""
    flush_bytes: int = 0
    """Size at which what waits is sent; 0 for the default."""
