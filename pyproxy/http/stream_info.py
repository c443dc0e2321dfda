"""What happened to one stream: facts that the data path writes down and telemetry reads.

Most requests leave most of these alone, so the defaults are class attributes and an instance holds only what
differs: making one costs a few assignments. (None is set by hand: compiled classes have no default of None.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pyproxy.errors import ResponseFlag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyproxy.config.filter_state import SharedState


class ConnectionInfo:
    """One downstream connection as telemetry and filters see it. Addresses are (host, port) or (path, 0)."""

    connection_id: int = 0
    opened: float = 0.0
    """When it was there (`clock.monotonic`)."""
    remote: tuple[str, int] = ("", 0)
    """The peer, after PROXY protocol or x-forwarded-for have had their say."""
    direct_remote: tuple[str, int] = ("", 0)
    local: tuple[str, int] = ("", 0)
    direct_local: tuple[str, int] = ("", 0)
    peer: tuple[str, int] = ("", 0)
    """The peer after PROXY protocol, whatever x-forwarded-for says."""
    told: tuple[tuple[str, int], tuple[str, int]] | None
    """(destination, source) as listener filters found them, where they are not those of the connection."""
    inside: tuple[tuple[str, int], tuple[str, int]] | None
    """(local, peer) of a connection that never left this process; None for others."""
    original_destination: tuple[str, int] | None
    """Where the connection was meant to go before it was brought here; None where it was not redirected."""
    requested_server_name: str = ""
    tcp_cluster: str = ""
    """The cluster for the TCP proxy, in place of the one that it is configured with (envoy.tcp_proxy.cluster)."""
    dynamic_host: tuple[str, int] = ("", 0)
    """(name, port) that a dynamic forward proxy is to connect to; no name where nobody says so."""
    version: str = ""
    """`HTTP/1.1` or `HTTP/2`, once it is known which of them is spoken."""
    tls: Any
    listener_name: str = ""
    outbound: bool = False
    """The listener takes what leaves this service (Envoy: traffic_direction OUTBOUND)."""
    filter_chain_name: str = ""
    listener_metadata: Mapping[str, Any] | None
    proxy_tlvs: tuple[tuple[int, bytes], ...] = ()
    """Of its PROXY header, those that may be passed on."""
    wants_more: bool = False
    """What is sent upstream for it wants something of its connections, so they cannot be shared with others."""
    upstream_server_name: str = ""
    """For SNI (Envoy: envoy.network.upstream_server_name)."""
    upstream_sans: tuple[str, ...] = ()
    """For one of these the certificate of the upstream has to be (Envoy: envoy.network.upstream_subject_alt_names)."""
    upstream_source: tuple[str, int] = ("", 0)
    """(address, mark) that connections to upstreams come from; no address for our own (Envoy: original_src)."""
    filter_state: dict[str, Any] | None
    shared_state: tuple[SharedState, ...] = ()
    """What of it goes along with connections to upstreams."""
    termination_details: str = ""
    transport_failure_reason: str = ""
    close_type: str = "Normal"
    """Envoy's detected close type: `Normal`, `RemoteReset`, `LocalReset`."""
    local_close_reason: str = ""
    left: bool = False
    """The downstream was the one that ended the connection."""
    close_cause: str = ""
    """Which of Envoy's counters tells why we ended it: `idle_timeout`, `max_duration_reached`, ..."""
    cut_requests: int = 0
    """Requests that were in progress when it ended."""
    filter_chain_metadata: Mapping[str, Any] | None
    dynamic_metadata: dict[str, Any] | None
    """What listener filters have learned, by namespace; not passed on to the streams of HTTP (Envoy)."""

    def __init__(self) -> None:
        self.tls = None
        self.told = None
        self.inside = None
        self.original_destination = None
        self.filter_state = None
        self.dynamic_metadata = None
        self.listener_metadata = None
        self.filter_chain_metadata = None

    def take_addresses(self, local: tuple[str, int], peer: tuple[str, int]) -> None:
        """The connection is open, between these. Who connects to a Unix socket has no name, and gets that of the
        socket (Envoy)."""
        if self.inside is not None:
            local, peer = self.inside
        self.local = self.direct_local = local
        self.peer = self.direct_remote = peer if peer[0] else (local[0], 0)
        if self.told is not None:
            self.local, self.peer = self.told
        self.remote = self.peer

    def come_from(self, host: str, mark: int) -> None:
        """Let connections to upstreams come from an address, from any port of it; mark 0 for none."""
        self.upstream_source = (host, mark)
        self.wants_more = True

    def seen_as(self, remote: tuple[str, int]) -> ConnectionInfo:
        """The same connection, with the peer that x-forwarded-for names."""
        other = ConnectionInfo()
        other.connection_id = self.connection_id
        other.direct_remote = self.direct_remote
        other.peer = self.peer
        other.original_destination = self.original_destination
        other.local = self.local
        other.proxy_tlvs = self.proxy_tlvs
        other.filter_state = self.filter_state
        if self.wants_more:
            other.wants_more = True
            other.upstream_server_name = self.upstream_server_name
            other.upstream_sans = self.upstream_sans
            other.upstream_source = self.upstream_source
            other.shared_state = self.shared_state
        other.direct_local = self.direct_local
        other.requested_server_name = self.requested_server_name
        other.version = self.version
        other.tls = self.tls
        other.listener_name = self.listener_name
        other.filter_chain_name = self.filter_chain_name
        other.listener_metadata = self.listener_metadata
        other.outbound = self.outbound
        other.termination_details = self.termination_details
        other.transport_failure_reason = self.transport_failure_reason
        other.close_type = self.close_type
        other.local_close_reason = self.local_close_reason
        other.filter_chain_metadata = self.filter_chain_metadata
        other.remote = remote
        return other


class UpstreamInfo:
    """The last try of a request at an upstream host. Times are `clock.monotonic` seconds, 0 where it did not happen."""

    host_address: str = ""
    """`ip:port`, or the path of a pipe."""
    host_name: str = ""
    cluster: str = ""
    observability_name: str = ""
    """What the cluster is called in logs and statistics, if not by its name (Envoy: alt_stat_name)."""
    cluster_metadata: Mapping[str, Any] | None
    host_metadata: Mapping[str, Any] | None
    local: tuple[str, int] = ("", 0)
    remote: tuple[str, int] = ("", 0)
    """Of a host that has several addresses."""
    connection_id: int = 0
    protocol: str = ""
    pool_ready: float = 0.0
    connect_start: float = 0.0
    connect_end: float = 0.0
    request_sent_first: float = 0.0
    request_sent_last: float = 0.0
    response_first: float = 0.0
    """When the response headers came."""
    response_body_first: float = 0.0
    response_last: float = 0.0
    wire_sent: int = 0
    wire_received: int = 0
    header_sent: int = 0
    header_received: int = 0
    interim: bool = False
    """An interim response came."""
    transport_failure_reason: str = ""
    close_type: str = "Normal"
    local_close_reason: str = ""
    tls: Any

    def __init__(self) -> None:
        self.cluster_metadata = None
        self.host_metadata = None
        self.tls = None


NO_UPSTREAM: Final = UpstreamInfo()


class StreamInfo:
    """One request and its response. Times are `clock.monotonic` seconds, 0 where it did not happen; sizes are bytes."""

    stream_id: str = ""
    protocol: str = ""
    """`HTTP/1.0`, `HTTP/1.1` or `HTTP/2`; empty where the request could not be read."""
    start: float
    start_wall: float
    """`start` as seconds since the epoch."""
    request_end: float = 0.0
    response_start: float = 0.0
    """When the first byte of the response was handed to the downstream connection."""
    end: float = 0.0
    cut: bool = False
    """The response ended before its end."""
    status: int = 0
    """What was sent downstream; 0 if nothing was."""
    flags: tuple[ResponseFlag, ...] = ()
    details: str = ""
    bytes_received: int = 0
    """Of the request body."""
    bytes_sent: int = 0
    """Of the response body."""
    wire_received: int = 0
    wire_sent: int = 0
    header_received: int = 0
    header_sent: int = 0
    attempts: int = 0
    hosts_attempted: tuple[str, ...] = ()
    """Addresses of the hosts to which a connection was had, in order."""
    hash: int = -1
    """What hosts are chosen by (64 bits); -1 where nothing says so."""
    subset: tuple[tuple[str, str], ...] = ()
    """The metadata that the host has to have."""
    set_cookies: tuple[bytes, ...] = ()
    """To be given to the downstream with the response."""
    host_draw: int = 0
    """How many hosts of the balancer were turned down for this try already (Envoy: host selection retry)."""
    host_names_attempted: tuple[str, ...] = ()
    connection_ids_attempted: tuple[int, ...] = ()
    connection: ConnectionInfo
    upstream: UpstreamInfo
    route_name: str = ""
    virtual_host: str = ""
    virtual_cluster: str = ""
    measured: bool = False
    """It counts as active in OpenTelemetry's metrics."""
    counted: tuple[Any, ...] = ()
    """What counts the request besides its cluster (telemetry.route_stats)."""
    original_path: bytes = b""
    """The path as it came, before rewrites."""
    local_reply_body: bytes = b""
    body_read: bool = False
    """A filter has waited for the whole body of the request, so an answer is not early."""
    came_as_call: bool | None = None
    """Whether the request came as a gRPC call, where a filter has changed that: local replies go by it."""
    shaped: bool = False
    """What a route answers by itself has been given the form of local replies."""
    log_type: str = "NotSet"
    """Which line of the access log is being written (Envoy: AccessLogType)."""
    logged: bool = False
    """There is an access log, so what only a log could show is worked out."""
    quiet_timeout: bool = False
    """A timeout of the upstream is answered by 204 (Envoy: x-envoy-upstream-rq-timeout-alt-response)."""
    per_try_ms: int = -1
    """What the request wants of the time for one try; -1 where it says nothing, 0 for no limit."""
    hedge_on_per_try_timeout: bool = False
    health_check: bool = False
    dynamic_host: tuple[str, int] = ("", 0)
    """(name, port) that a dynamic forward proxy is to go to, in place of the authority."""
    internal: bool = False
    """The request came from inside (Envoy: x-envoy-internal)."""
    response_trailers: list[tuple[bytes, bytes]] | None
    dynamic_metadata: dict[str, Any] | None
    filter_state: dict[str, Any] | None
    route_metadata: Mapping[str, Any] | None
    virtual_host_metadata: Mapping[str, Any] | None
    random_value: int = -1
    """64 random bits for the choices of routing, drawn at the first of them; -1 until then. Routing a request again
    chooses the same."""
    followed: Any
    """What it has been through of redirects that are followed here (routes.internal_redirect); None for none."""
    span: Any
    """The live span of a request that belongs to a trace (telemetry.tracer), None otherwise."""
    override_host: str = ""
    """The address of the host that the first try is to go to, if it can (Envoy: setUpstreamOverrideHost)."""
    override_strict: bool = False
    """No other host will do."""
    upstream_named: bool = False
    """What stands in the next two is final."""
    upstream_server_name: str = ""
    """For SNI; empty for what the cluster says (Envoy: envoy.network.upstream_server_name)."""
    upstream_sans: tuple[str, ...] = ()
    """For one of these the certificate of the upstream has to be (Envoy: envoy.network.upstream_subject_alt_names)."""
    trace_id: str = ""
    span_id: str = ""

    def __init__(self, start: float, start_wall: float, connection: ConnectionInfo) -> None:
        self.start = start
        self.start_wall = start_wall
        self.connection = connection
        self.upstream = NO_UPSTREAM
        self.span = None
        self.followed = None
        self.response_trailers = None
        self.dynamic_metadata = None
        self.filter_state = None
        self.route_metadata = None
        self.virtual_host_metadata = None

    def add_flag(self, flag: ResponseFlag) -> None:
        if flag not in self.flags:
            self.flags = (*self.flags, flag)
