"""The HTTP connection manager as a value (envoy...http_connection_manager.v3.HttpConnectionManager).

The compile function is in `compile.py` beside it; the live one in `manager.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pyproxy.config.access_log import AccessLogConfig, LogFilter
from pyproxy.config.config_source import ConfigSourceConfig
from pyproxy.config.format import Format, JsonFormat
from pyproxy.config.headers import HeaderAdd
from pyproxy.config.http2 import H2Options
from pyproxy.config.listener import FilterConfig
from pyproxy.config.route import RouteTableConfig
from pyproxy.config.scoped_routes import ScopedRoutesConfig
from pyproxy.config.tracing import TracingConfig
from pyproxy.http.codec import CodecOptions

if TYPE_CHECKING:
    from pyproxy.filters.network.http_connection_manager.manager import HttpConnectionManager
    from pyproxy.runtime import Runtime

NOTHING: Mapping[str, Any] = MappingProxyType({})


class ServerHeader(Enum):
    OVERWRITE = "OVERWRITE"
    APPEND_IF_ABSENT = "APPEND_IF_ABSENT"
    PASS_THROUGH = "PASS_THROUGH"


class EscapedSlashes(Enum):
    """Values of Envoy's PathWithEscapedSlashesAction; its IMPLEMENTATION_SPECIFIC_DEFAULT is KEEP_UNCHANGED."""

    KEEP_UNCHANGED = "KEEP_UNCHANGED"
    REJECT_REQUEST = "REJECT_REQUEST"
    UNESCAPE_AND_REDIRECT = "UNESCAPE_AND_REDIRECT"
    UNESCAPE_AND_FORWARD = "UNESCAPE_AND_FORWARD"


class Underscores(Enum):
    """What is done with header names that contain an underscore."""

    ALLOW = "ALLOW"
    REJECT_REQUEST = "REJECT_REQUEST"
    DROP_HEADER = "DROP_HEADER"


@dataclass(frozen=True, slots=True)
class PathOptions:
    normalize: bool = False
    merge_slashes: bool = False
    escaped_slashes: EscapedSlashes = EscapedSlashes.KEEP_UNCHANGED
    strip_matching_host_port: bool = False
    strip_any_host_port: bool = False
    strip_trailing_host_dot: bool = False


@dataclass(frozen=True, slots=True)
class ForwardingOptions:
    """x-forwarded-for and its kin."""

    use_remote_address: bool = False
    xff_num_trusted_hops: int = 0
    skip_xff_append: bool = False
    append_x_forwarded_port: bool = False
    via: bytes = b""
    internal_cidrs: tuple[str, ...] = ()
    """From `internal_address_config`; empty means nothing but what Envoy takes for internal by default."""
    unix_sockets_internal: bool = False
    scheme_overwrite: bytes = b""
    forward_client_cert: str = "SANITIZE"
    client_cert_details: tuple[str, ...] = ()
    """What x-forwarded-client-cert says beside the hash: cert, subject, uri, dns, in this order."""


@dataclass(frozen=True, slots=True)
class RequestIdOptions:
    generate: bool = True
    preserve_external: bool = False
    always_set_in_response: bool = False
    pack_trace_reason: bool = True
    """The id says whether the request is traced."""
    decides_tracing: bool = True
    """What the id says, and chance by its digits, decide whether a request is traced."""


@dataclass(frozen=True, slots=True)
class HcmTimeouts:
    """Seconds; 0 switches one off."""

    stream_idle: float = 300.0
    request: float = 0.0
    request_headers: float = 0.0
    connection_idle: float = 3600.0
    delayed_close: float = 1.0
    max_stream_duration: float = 0.0
    max_connection_duration: float = 0.0
    drain: float = 5.0
    """Between the first GOAWAY of an HTTP/2 connection, which asks the downstream to leave, and the last."""


@dataclass(frozen=True, slots=True)
class LocalReplyMapper:
    """The first mapper whose filter fits changes the local reply. Unset parts stay as they are."""

    filter: LogFilter
    status: int | None = None
    body: bytes | None = None
    format: Format | JsonFormat | None = None
    content_type: bytes = b""
    headers: tuple[HeaderAdd, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalReplyConfig:
    """`format` shapes the body of every local reply that no mapper with a format of its own took."""

    mappers: tuple[LocalReplyMapper, ...] = ()
    format: Format | JsonFormat | None = None
    content_type: bytes = b""


@dataclass(frozen=True, slots=True)
class RdsConfig:
    """Routes that come from elsewhere (`Rds`)."""

    source: ConfigSourceConfig
    route_config_name: str


@dataclass(frozen=True, slots=True)
class HttpConnectionManagerConfig:
    """Routes are in `route_table`, come by `rds`, or are chosen by a key (`scoped`)."""

    stat_prefix: str
    route_table: RouteTableConfig | None = None
    rds: RdsConfig | None = None
    scoped: ScopedRoutesConfig | None = None
    filters: tuple[FilterConfig, ...] = ()
    codec_type: str = "AUTO"
    """`AUTO`, `HTTP1` or `HTTP2`."""
    codec: CodecOptions = CodecOptions()
    http2: H2Options = H2Options()
    upgrades: tuple[tuple[bytes, bool], ...] = ()
    """(protocol, allowed)"""
    default_http10_host: bytes = b""
    stream_error_on_invalid_message: bool = False
    header_key_format: str = "lower"
    server_name: bytes = b"envoy"
    server_header: ServerHeader = ServerHeader.OVERWRITE
    paths: PathOptions = PathOptions()
    forwarding: ForwardingOptions = ForwardingOptions()
    request_id: RequestIdOptions = RequestIdOptions()
    timeouts: HcmTimeouts = HcmTimeouts()
    underscores: Underscores = Underscores.ALLOW
    max_requests_per_connection: int = 0
    proxy_100_continue: bool = False
    access_logs: tuple[AccessLogConfig, ...] = ()
    tracing: TracingConfig | None = None
    log_at_start: bool = False
    """Write a line when a request comes too, once its route is known."""
    log_interval: float = 0.0
    """Seconds between lines for a request in progress; 0 for none."""
    local_reply: LocalReplyConfig = LocalReplyConfig()
    add_user_agent: bool = False

    @property
    def suppress_envoy_headers(self) -> bool:
        """Said to the router, which is the last filter, and true for routes too."""
        return bool(self.filters) and bool(self.filters[-1].config.suppress_envoy_headers)

    @property
    def tunnels(self) -> bool:
        """Whether any request may become a tunnel."""
        routes = () if self.route_table is None else self.route_table.forward_actions()
        return any(allowed for _, allowed in self.upgrades) or any(action.upgrades for action in routes)

    @property
    def reroutes(self) -> bool:
        """Whether a filter may ask for another route."""
        return any(getattr(one.config, "reroutes", False) for one in self.filters)

    def build(self, runtime: Runtime) -> HttpConnectionManager:
        """The live manager with its chain of filters, the last of which answers.

        What it needs is imported when the first one is built, so that a configuration can be checked without it.
        """
        from pyproxy.filters.network.http_connection_manager.chain import build_chain
        from pyproxy.filters.network.http_connection_manager.manager import HttpConnectionManager

        manager = HttpConnectionManager(self, runtime)
        manager.chain = build_chain(self.filters, manager, runtime)
        return manager
