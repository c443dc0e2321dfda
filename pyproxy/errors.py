"""What goes wrong with a request, in the words of Envoy's response flags and response-code details.

One exception type travels up the request path; `http.local_reply` is the only place that turns it into a
response. Foreign exceptions (OSError, ssl, codec errors) are mapped where they enter.
"""

from __future__ import annotations

from enum import Enum


class ResponseFlag(Enum):
    """Why a response is not simply the upstream's (Envoy: access log, `%RESPONSE_FLAGS%`).

    The value is (short form, long form).
    """

    FAILED_LOCAL_HEALTH_CHECK = ("LH", "FailedLocalHealthCheck")
    NO_HEALTHY_UPSTREAM = ("UH", "NoHealthyUpstream")
    UPSTREAM_REQUEST_TIMEOUT = ("UT", "UpstreamRequestTimeout")
    LOCAL_RESET = ("LR", "LocalReset")
    UPSTREAM_REMOTE_RESET = ("UR", "UpstreamRemoteReset")
    UPSTREAM_CONNECTION_FAILURE = ("UF", "UpstreamConnectionFailure")
    UPSTREAM_CONNECTION_TERMINATION = ("UC", "UpstreamConnectionTermination")
    UPSTREAM_OVERFLOW = ("UO", "UpstreamOverflow")
    NO_ROUTE_FOUND = ("NR", "NoRouteFound")
    DELAY_INJECTED = ("DI", "DelayInjected")
    FAULT_INJECTED = ("FI", "FaultInjected")
    RATE_LIMITED = ("RL", "RateLimited")
    UNAUTHORIZED_EXTERNAL_SERVICE = ("UAEX", "UnauthorizedExternalService")
    RATE_LIMIT_SERVICE_ERROR = ("RLSE", "RateLimitServiceError")
    DOWNSTREAM_CONNECTION_TERMINATION = ("DC", "DownstreamConnectionTermination")
    UPSTREAM_RETRY_LIMIT_EXCEEDED = ("URX", "UpstreamRetryLimitExceeded")
    STREAM_IDLE_TIMEOUT = ("SI", "StreamIdleTimeout")
    INVALID_ENVOY_REQUEST_HEADERS = ("IH", "InvalidEnvoyRequestHeaders")
    DOWNSTREAM_PROTOCOL_ERROR = ("DPE", "DownstreamProtocolError")
    UPSTREAM_MAX_STREAM_DURATION_REACHED = ("UMSDR", "UpstreamMaxStreamDurationReached")
    RESPONSE_FROM_CACHE_FILTER = ("RFCF", "ResponseFromCacheFilter")
    NO_FILTER_CONFIG_FOUND = ("NFCF", "NoFilterConfigFound")
    DURATION_TIMEOUT = ("DT", "DurationTimeout")
    UPSTREAM_PROTOCOL_ERROR = ("UPE", "UpstreamProtocolError")
    NO_CLUSTER_FOUND = ("NC", "NoClusterFound")
    OVERLOAD_MANAGER = ("OM", "OverloadManagerTerminated")
    DNS_RESOLUTION_FAILURE = ("DF", "DnsResolutionFailed")
    DROP_OVERLOAD = ("DO", "DropOverload")
    DOWNSTREAM_REMOTE_RESET = ("DR", "DownstreamRemoteReset")
    UNCONDITIONAL_DROP_OVERLOAD = ("UDO", "UnconditionalDropOverload")

    @property
    def short(self) -> str:
        return self.value[0]

    @property
    def long(self) -> str:
        return self.value[1]


class Source(Enum):
    """Whose doing an error is."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    LOCAL = "local"


class Retriable(Enum):
    """Whether sending the request again can be right, before any retry policy is asked."""

    NEVER = "never"
    ALWAYS = "always"
    IF_REUSED = "if_reused"
    """Only if the connection had carried a request before: the peer closed it while it was idle (RFC 9112 9.3.1)."""


class ProxyError(Exception):
    """A request that ends in a local reply.

    `status` is the HTTP status of the local reply, `details` Envoy's response-code details, `body` the
    text of the reply, `flag` the response flag (None where Envoy sets none).
    """

    def __init__(
        self,
        flag: ResponseFlag | None,
        source: Source,
        status: int,
        details: str,
        *,
        body: bytes = b"",
        retriable: Retriable = Retriable.NEVER,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(details)
        self.flag = flag
        self.source = source
        self.status = status
        self.details = details
        self.body = body
        self.retriable = retriable
        self.headers = headers
