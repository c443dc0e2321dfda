"""Whether a try is worth another one: a `RetryPolicyConfig`, ready to be asked (Envoy: router filter, retry policy).

Pure: what has happened comes in, an answer goes out. Who asks, counts and waits is `filters.http.router`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.config.matchers import HeaderMatch
from pyproxy.config.retry import HostPredicate, HostPredicateConfig, ResetHeader, RetryPolicyConfig
from pyproxy.errors import ProxyError, ResponseFlag
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.predicates import RequestPredicate, build_header_predicate

_GRPC: Final = {"cancelled": 1, "deadline-exceeded": 4, "resource-exhausted": 8, "internal": 13, "unavailable": 14}
"""gRPC status codes by Envoy's words for them (grpc/doc/statuscodes.md)."""
HTTP_WORDS: Final = frozenset(
    (
        "5xx",
        "connect-failure",
        "envoy-ratelimited",
        "gateway-error",
        "http3-post-connect-failure",
        "refused-stream",
        "reset",
        "reset-before-request",
        "retriable-4xx",
        "retriable-headers",
        "retriable-status-codes",
    )
)
GRPC_WORDS: Final = frozenset(_GRPC)
_RATE_LIMITED: Final = b"x-envoy-ratelimited"
_GATEWAY: Final = frozenset((502, 503, 504))
_MOST_CODE: Final = 1 << 32

HostRejected = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What one request is held against: that of its route, with what its own headers add (`with_headers`)."""

    config: RetryPolicyConfig
    on: frozenset[str]
    num_retries: int
    statuses: frozenset[int]
    grpc: frozenset[bytes]
    headers: tuple[RequestPredicate, ...]
    request_headers: tuple[RequestPredicate, ...]
    rejects: tuple[HostRejected, ...]
    """Hosts that a retry would rather not go to, apart from those that were tried."""
    avoids_previous: bool

    def concerns(self, request: Request) -> bool:
        """Some policies are for some requests only (`retriable_request_headers`)."""
        return not self.request_headers or any(fits(request) for fits in self.request_headers)

    def after_response(self, response: Response) -> bool:
        """Whether the answer to a try calls for another one."""
        on, status, headers = self.on, response.status, response.headers
        if _RATE_LIMITED in headers.index:  # an Envoy said it, and it is about the client
            return "envoy-ratelimited" in on
        if status >= 500 and (("5xx" in on and status < 600) or ("gateway-error" in on and status in _GATEWAY)):
            return True
        if status == 409 and "retriable-4xx" in on:
            return True
        if status in self.statuses and "retriable-status-codes" in on:
            return True
        if self.grpc and headers.get(b"grpc-status") in self.grpc:
            return True
        return "retriable-headers" in on and self._header_fits(response)

    def after_reset(self, error: ProxyError, *, started: bool, refused: bool = False) -> bool:
        """Whether a try that ended without an answer calls for another one. `started`: some of the request was sent;
        `refused`: the upstream says that it did nothing with it (HTTP/2: REFUSED_STREAM)."""
        on, flag = self.on, error.flag
        if flag not in _RESETS:
            return False
        if "reset-before-request" in on and not started:
            return True
        if "reset" in on or "5xx" in on or "gateway-error" in on:
            return True
        if refused and "refused-stream" in on:
            return True
        return flag is ResponseFlag.UPSTREAM_CONNECTION_FAILURE and "connect-failure" in on

    def reset_seconds(self, response: Response, wall: float) -> float | None:
        """How long the response asks to be left alone (`rate_limited_retry_back_off`); None where it does not."""
        config = self.config
        for header in config.reset_headers:
            seconds = _seconds(header, response.headers, wall)
            if seconds is not None and 0 < seconds <= config.reset_max_interval:
                return seconds
        return None

    def with_headers(
        self, retry_on: bytes, grpc_on: bytes, codes: bytes, names: bytes, most: int | None
    ) -> RetryPolicy:
        """The same with what a request says of itself (x-envoy-retry-on and its like)."""
        words = _words(retry_on) & HTTP_WORDS
        grpc = _words(grpc_on) & GRPC_WORDS
        added = frozenset(int(code) for code in codes.split(b",") if code.strip().isdigit() and int(code) < _MOST_CODE)
        present = tuple(
            build_header_predicate(HeaderMatch(name.strip().lower(), present=True))
            for name in names.split(b",")
            if name.strip()
        )
        return RetryPolicy(
            config=self.config,
            on=self.on | words | grpc,
            num_retries=self.num_retries if most is None else most,
            statuses=self.statuses | added,
            grpc=self.grpc | _grpc_values(grpc),
            headers=self.headers + present,
            request_headers=self.request_headers,
            rejects=self.rejects,
            avoids_previous=self.avoids_previous,
        )

    def _header_fits(self, response: Response) -> bool:
        shown: Any = _Shown(response)
        return any(fits(shown) for fits in self.headers)


_RESETS: Final = frozenset(
    (
        ResponseFlag.UPSTREAM_CONNECTION_FAILURE,
        ResponseFlag.UPSTREAM_CONNECTION_TERMINATION,
        ResponseFlag.UPSTREAM_REMOTE_RESET,
        ResponseFlag.UPSTREAM_PROTOCOL_ERROR,
        ResponseFlag.LOCAL_RESET,
        ResponseFlag.UPSTREAM_REQUEST_TIMEOUT,
        ResponseFlag.UPSTREAM_MAX_STREAM_DURATION_REACHED,
    )
)
"""How a try can end that another one may follow. An open breaker is not among them."""


class _Shown:
    """A response, as predicates look at requests."""

    __slots__ = ("authority", "headers", "method", "path", "scheme")

    def __init__(self, response: Response) -> None:
        self.method = self.path = self.authority = self.scheme = b""
        self.headers = Headers([(b":status", b"%d" % response.status), *response.headers.pairs])


def build_retry(config: RetryPolicyConfig) -> RetryPolicy:
    """The live policy."""
    return RetryPolicy(
        config=config,
        on=config.retry_on,
        num_retries=config.num_retries,
        statuses=config.retriable_status_codes,
        grpc=_grpc_values(config.retry_on),
        headers=tuple(build_header_predicate(match) for match in config.retriable_headers),
        request_headers=tuple(build_header_predicate(match) for match in config.retriable_request_headers),
        rejects=tuple(rejects for predicate in config.host_predicates if (rejects := _rejects(predicate)) is not None),
        avoids_previous=any(one.kind is HostPredicate.PREVIOUS_HOSTS for one in config.host_predicates),
    )


def _rejects(config: HostPredicateConfig) -> HostRejected | None:
    match config.kind:
        case HostPredicate.PREVIOUS_HOSTS:
            return None  # they are compared by identity, request by request
        case HostPredicate.OMIT_CANARY:
            return _is_canary
        case HostPredicate.OMIT_METADATA:
            wanted = dict(config.metadata)
            return lambda host: bool(wanted) and _has(host, wanted)


def _is_canary(host: Any) -> bool:
    return bool(host.metadata.get("envoy.lb", {}).get("canary"))


def _has(host: Any, wanted: dict[str, Any]) -> bool:
    labels = host.metadata.get("envoy.lb", {})
    return all(name in labels and labels[name] == value for name, value in wanted.items())


def _seconds(header: ResetHeader, headers: Headers, wall: float) -> float | None:
    said = headers.get(header.name)
    if said is None or not said.strip().isdigit() or len(said) > 18:
        return None
    return int(said) - int(wall) if header.at_time else float(int(said))


def _words(value: bytes) -> frozenset[str]:
    return frozenset(word.strip().decode("latin-1") for word in value.split(b",") if word.strip())


def _grpc_values(words: frozenset[str]) -> frozenset[bytes]:
    return frozenset(b"%d" % _GRPC[word] for word in words if word in _GRPC)


NO_RETRIES: Final = build_retry(RetryPolicyConfig())
"""Nothing is tried again, unless a request asks for it."""
