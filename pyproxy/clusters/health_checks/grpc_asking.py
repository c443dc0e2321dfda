"""Asking one host for its health by gRPC (gRPC health checking protocol, doc/health-checking.md; Envoy:
GrpcHealthCheckerImpl)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyproxy.clusters.health_checks.h2_exchange import H2Answer, H2Exchange
from pyproxy.clusters.health_checks.state import Outcome
from pyproxy.clusters.wire_fields import VARINT, NotAMessage, fields_of, varint
from pyproxy.config.health_check import GrpcCheckConfig
from pyproxy.http import grpc
from pyproxy.http.message import Pair
from pyproxy.telemetry.formatter import literal_bytes

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster
    from pyproxy.clusters.health_checks.probe import Probe
    from pyproxy.clusters.host import Host

_FRAME: Final = 5
"""Bytes before each message: whether it is compressed, and its length."""
_LIMIT: Final = 4096
_SERVING: Final = 1


class AskGrpc:
    """grpc.health.v1.Health/Check; only SERVING is well."""

    def __init__(self, config: GrpcCheckConfig, cluster: Cluster, timeout: float) -> None:
        self._config = config
        self._cluster = cluster
        self._timeout = grpc.timeout_value(timeout)
        self._exchange: H2Exchange | None = None
        self.reusable = False
        self.status = 0
        self.excludes = False
        service = config.service.encode()
        message = b"\n" + varint(len(service)) + service if service else b""
        self._question = b"\0" + len(message).to_bytes(4, "big") + message

    def begin(self, probe: Probe) -> None:
        self._exchange = H2Exchange(probe, self._cluster.config.http)

    async def ask(self, probe: Probe, host: Host) -> Outcome:
        exchange = self._exchange
        assert exchange is not None
        answer = await exchange.ask(self._pairs(host), self._question, _LIMIT)
        self.reusable = not exchange.leaving
        return Outcome.GOOD if _serves(answer) else Outcome.BAD

    def _pairs(self, host: Host) -> list[Pair]:
        config = self._config
        authority = config.authority or host.check_hostname or self._cluster.name
        pairs = [
            (b":method", b"POST"),
            (b":path", b"/grpc.health.v1.Health/Check"),
            (b":authority", authority.encode()),
            (b":scheme", b"http" if self._cluster.dialer(host) is None else b"https"),
            (b"te", b"trailers"),
            (b"content-type", grpc.CONTENT_TYPE),
            (b"user-agent", b"Envoy/HC"),
        ]
        pairs += [(one.name, literal_bytes(one.value) or b"") for one in config.add]
        pairs.append((grpc.TIMEOUT, self._timeout))
        return pairs


def _serves(answer: H2Answer) -> bool:
    trailers, body = answer.trailers, answer.body
    if answer.status != 200 or not grpc.is_grpc(answer.headers) or trailers is None:
        return False  # an answer of one head alone has no message, so it cannot say SERVING
    if trailers.index.get(grpc.STATUS) != b"0" or len(body) <= _FRAME or body[0]:
        return False
    length = int.from_bytes(body[1:_FRAME], "big")
    return len(body) == _FRAME + length and serving_status(body[_FRAME:]) == _SERVING


def serving_status(message: bytes) -> int:
    """Field 1 of a HealthCheckResponse; 0 (UNKNOWN) where it is not there, -1 where this is no message."""
    status = 0
    try:
        for number, kind, value in fields_of(message):
            if number == 1 and kind == VARINT:
                assert isinstance(value, int)
                status = value
    except NotAMessage:
        return -1
    return status
