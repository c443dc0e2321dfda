"""How hosts are asked for their health (envoy.config.core.v3.HealthCheck). Seconds for all times."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pyproxy.config.header_compile import compile_header_add
from pyproxy.config.headers import HeaderAdd
from pyproxy.config.matcher_compile import compile_string_match
from pyproxy.config.matchers import StringMatch
from pyproxy.config.view import View


class CheckKind(Enum):
    HTTP = "http_health_check"
    TCP = "tcp_health_check"
    GRPC = "grpc_health_check"


@dataclass(frozen=True, slots=True)
class HttpCheckConfig:
    """`host` is empty for the name of the host or of the cluster. Statuses are ranges [start, end)."""

    path: str
    host: str = ""
    method: str = "GET"
    add: tuple[HeaderAdd, ...] = ()
    remove: tuple[bytes, ...] = ()
    expected: tuple[tuple[int, int], ...] = ((200, 201),)
    retriable: tuple[tuple[int, int], ...] = ()
    receive: tuple[bytes, ...] = ()
    response_buffer: int = 1024
    http2: bool = False
    service: StringMatch | None = None
    """What the host has to say of its cluster (`x-envoy-upstream-healthchecked-cluster`); None if it need not."""


@dataclass(frozen=True, slots=True)
class TcpCheckConfig:
    """Without `send` a connection is all that is asked for. Each of `receive` has to come, in order."""

    send: bytes = b""
    receive: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class GrpcCheckConfig:
    """grpc.health.v1.Health/Check. Without a `service` the server as a whole is meant; `authority` is like `host`."""

    service: str = ""
    authority: str = ""
    add: tuple[HeaderAdd, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthCheckConfig:
    """`edge` intervals hold while a host is about to change sides, `no_traffic` ones until the cluster is used.

    `event_logs` are paths to which changes are written; `log_failures` and `log_successes` want every single check.
    """

    check: HttpCheckConfig | TcpCheckConfig | GrpcCheckConfig
    timeout: float
    interval: float
    unhealthy_threshold: int
    healthy_threshold: int
    unhealthy_interval: float
    unhealthy_edge_interval: float
    healthy_edge_interval: float
    no_traffic_interval: float
    no_traffic_healthy_interval: float
    initial_jitter: float = 0.0
    interval_jitter: float = 0.0
    interval_jitter_percent: int = 0
    alt_port: int = 0
    reuse_connection: bool = True
    event_logs: tuple[str, ...] = ()
    log_failures: bool = False
    log_successes: bool = False


_FILE_SINK = "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink"
_NO_TRAFFIC = 60.0


def compile_health_checks(cluster: View) -> tuple[HealthCheckConfig, ...]:
    """The `health_checks` of a `Cluster`. Envoy honours the first one only; so do we, and list the others."""
    checks = cluster.children("health_checks")
    return (_check(checks[0]),) if checks else ()


def _check(view: View) -> HealthCheckConfig:
    interval = view.seconds("interval") or 0.0
    unhealthy = view.seconds("unhealthy_interval") or interval
    no_traffic = view.seconds("no_traffic_interval") or _NO_TRAFFIC
    reuse = view.wrapped("reuse_connection")
    return HealthCheckConfig(
        check=_kind(view),
        timeout=view.seconds("timeout") or 0.0,
        interval=interval,
        unhealthy_threshold=view.wrapped("unhealthy_threshold") or 1,
        healthy_threshold=view.wrapped("healthy_threshold") or 1,
        unhealthy_interval=unhealthy,
        unhealthy_edge_interval=view.seconds("unhealthy_edge_interval") or unhealthy,
        healthy_edge_interval=view.seconds("healthy_edge_interval") or interval,
        no_traffic_interval=no_traffic,
        no_traffic_healthy_interval=view.seconds("no_traffic_healthy_interval") or no_traffic,
        initial_jitter=view.seconds("initial_jitter") or 0.0,
        interval_jitter=view.seconds("interval_jitter") or 0.0,
        interval_jitter_percent=view.scalar("interval_jitter_percent"),
        alt_port=view.wrapped("alt_port") or 0,
        reuse_connection=True if reuse is None else bool(reuse),
        event_logs=_event_logs(view),
        log_failures=bool(view.scalar("always_log_health_check_failures")),
        log_successes=bool(view.scalar("always_log_health_check_success")),
    )


def _event_logs(view: View) -> tuple[str, ...]:
    """Sinks other than files stay unread, and so are listed as not honoured."""
    paths = [view.text("event_log_path")]
    for sink in view.children("event_logger"):
        if sink.message.typed_config.type_url.rpartition("/")[2] == _FILE_SINK:  # type: ignore[attr-defined]
            sink.ignore("name")
            typed = sink.any("typed_config")
            assert typed is not None
            paths.append(typed.text("event_log_path"))
    return tuple(path for path in paths if path)


def _kind(view: View) -> HttpCheckConfig | TcpCheckConfig | GrpcCheckConfig:
    kind = view.oneof("health_checker")
    match kind:
        case "http_health_check":
            return _http(view.need(kind))
        case "tcp_health_check":
            tcp = view.need(kind)
            send = tcp.child("send")
            return TcpCheckConfig(b"" if send is None else _payload(send), tcp.each("receive", _payload))
        case "grpc_health_check":
            grpc = view.need(kind)
            return GrpcCheckConfig(
                grpc.text("service_name"), grpc.text("authority"), grpc.each("initial_metadata", compile_header_add)
            )
        case _:
            what = f"{kind} is not supported yet" if kind else "says nothing of what to ask"
            view.fail(kind or "", what, expected=" or ".join(one.value for one in CheckKind))


def _http(view: View) -> HttpCheckConfig:
    codec = view.enum("codec_client_type")
    if codec not in ("HTTP1", "HTTP2"):
        view.fail("codec_client_type", f"{codec} is not supported", expected="HTTP1 or HTTP2")
    service = view.child("service_name_matcher")
    method = view.enum("method")
    if view.has("send"):
        view.fail("send", "is not supported, in Envoy neither")
    size = view.wrapped("response_buffer_size")
    return HttpCheckConfig(
        path=view.text("path"),
        host=view.text("host"),
        method="GET" if method == "METHOD_UNSPECIFIED" else method,
        add=view.each("request_headers_to_add", compile_header_add),
        remove=tuple(str(name).lower().encode() for name in view.scalars("request_headers_to_remove")),
        expected=view.each("expected_statuses", _range) or ((200, 201),),
        retriable=view.each("retriable_statuses", _range),
        receive=view.each("receive", _payload),
        response_buffer=1024 if size is None else size,
        http2=codec == "HTTP2",
        service=None if service is None else compile_string_match(service),
    )


def _range(view: View) -> tuple[int, int]:
    start, end = int(view.scalar("start")), int(view.scalar("end"))
    if start >= end:
        view.fail("start", f"{start} is not below the end {end}", expected=f"below {end}")
    if not 100 <= start < 600 or not 100 <= end <= 600:
        view.fail("start", "is not a range of statuses", expected="100 to 600")
    return start, end


def _payload(view: View) -> bytes:
    """Text is hexadecimal (Envoy)."""
    if view.oneof("payload") == "binary":
        return bytes(view.scalar("binary"))
    text = view.text("text")
    try:
        return bytes.fromhex(text)
    except ValueError:
        view.fail("text", f"{text!r} is not hexadecimal", expected="an even number of hexadecimal digits")
