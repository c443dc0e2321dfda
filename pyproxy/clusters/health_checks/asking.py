"""Asking one host for its health, by HTTP or by bare TCP. Envoy: HttpHealthCheckerImpl, TcpHealthCheckerImpl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pyproxy.clusters.health_checks.h2_exchange import H2Exchange
from pyproxy.clusters.health_checks.probe import Probe
from pyproxy.clusters.health_checks.state import Outcome
from pyproxy.config.health_check import HttpCheckConfig, TcpCheckConfig
from pyproxy.http import h1_encode
from pyproxy.http.codec import CodecError, CodecOptions, End, ResponseHead
from pyproxy.http.engines import new_response_decoder
from pyproxy.http.message import Headers
from pyproxy.http.predicates import build_string_predicate
from pyproxy.telemetry.formatter import literal_bytes

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster
    from pyproxy.clusters.host import Host

_AGENT: Final = (b"user-agent", b"Envoy/HC")
_DEGRADED: Final = b"x-envoy-degraded"
_SERVICE: Final = b"x-envoy-upstream-healthchecked-cluster"
IMMEDIATE_FAIL: Final = b"x-envoy-immediate-health-check-fail"
_NO_LIMIT: Final = 1 << 30


class Asking(Protocol):
    """One kind of check. `begin` gets each connection before it is opened. `ask` raises OSError where the host cannot
    be reached; afterwards `reusable` says whether the connection can be used again, `status` is that of an HTTP answer,
    and `excludes` that it has x-envoy-immediate-health-check-fail."""

    reusable: bool
    status: int
    excludes: bool

    def begin(self, probe: Probe) -> None: ...

    async def ask(self, probe: Probe, host: Host) -> Outcome: ...


class AskHttp:
    """A GET, or another method; the status decides."""

    def __init__(self, config: HttpCheckConfig, cluster: Cluster) -> None:
        self._config = config
        self._cluster = cluster
        self._exchange: H2Exchange | None = None
        self._service = None if config.service is None else build_string_predicate(config.service)
        self.reusable = False
        self.status = 0
        self.excludes = False

    def begin(self, probe: Probe) -> None:
        if self._config.http2:
            self._exchange = H2Exchange(probe, self._cluster.config.http)

    async def ask(self, probe: Probe, host: Host) -> Outcome:
        self.status = 0
        exchange = self._exchange
        return await (self._ask_h1(probe, host) if exchange is None else self._ask_h2(exchange, host))

    async def _ask_h1(self, probe: Probe, host: Host) -> Outcome:
        answer = _Answer(self._config)
        probe.ended = answer.on_eof
        config = self._config
        question = h1_encode.request_head(
            config.method.encode(), config.path.encode(), self._authority(host), self._headers().pairs
        )
        await probe.ask(question, answer.receive)
        self.reusable = answer.reusable
        if answer.error is not None or answer.head is None:
            return Outcome.UNREACHED
        return self._outcome(answer.head.status, answer.head.headers, answer.body)

    async def _ask_h2(self, exchange: H2Exchange, host: Host) -> Outcome:
        config = self._config
        pairs = [
            (b":method", config.method.encode()),
            (b":authority", self._authority(host)),
            (b":path", config.path.encode()),
            (b":scheme", b"http" if self._cluster.dialer(host) is None else b"https"),
            *self._headers().pairs,
        ]
        answer = await exchange.ask(pairs, b"", config.response_buffer or _NO_LIMIT)
        self.reusable = not exchange.leaving
        return self._outcome(answer.status, answer.headers, answer.body)

    def _authority(self, host: Host) -> bytes:
        return (self._config.host or host.check_hostname or self._cluster.name).encode()

    def _headers(self) -> Headers:
        headers = Headers([_AGENT])
        for one in self._config.add:
            headers.add(one.name, literal_bytes(one.value) or b"")
        for name in self._config.remove:
            headers.remove(name)
        return headers

    def _outcome(self, status: int, headers: Headers, body: bytes) -> Outcome:
        config = self._config
        self.status = status
        self.excludes = IMMEDIATE_FAIL in headers.index
        if not any(start <= status < end for start, end in config.expected):
            retriable = any(start <= status < end for start, end in config.retriable)
            return Outcome.RETRIABLE if retriable else Outcome.BAD
        if not found_in_order(config.receive, body):
            return Outcome.BAD
        if self._service is not None:
            self._cluster.stats.health_check.verify_cluster.value += 1
            if not self._service(headers.index.get(_SERVICE, b"")):
                return Outcome.BAD
        return Outcome.DEGRADED if _DEGRADED in headers.index else Outcome.GOOD


class _Answer:
    """What came back."""

    def __init__(self, config: HttpCheckConfig) -> None:
        self._config = config
        self._decoder = new_response_decoder(CodecOptions())
        self._decoder.expect(config.method.encode())
        self.body = b""
        self.head: ResponseHead | None = None
        self.error: CodecError | None = None
        self.reusable = False

    def receive(self, data: bytes) -> bool:
        done = False
        for event in self._decoder.receive(data):
            if isinstance(event, CodecError):
                if not done:  # or it is about what came behind the answer
                    self.error = event
                self.reusable = False
                return True
            if isinstance(event, ResponseHead):
                if event.status < 200:
                    continue
                self.head = event
                self.reusable = event.keep_alive
                self._keep(event.body)
                done = event.ended
            elif isinstance(event, End):
                done = True
            else:
                self._keep(event)
        return done

    def on_eof(self) -> bool:
        self.reusable = False
        return any(isinstance(event, End) for event in self._decoder.receive_eof())

    def _keep(self, data: bytes) -> None:
        self.body += data[: max(0, (self._config.response_buffer or len(data)) - len(self.body))]


class AskTcp:
    """A connection, and perhaps some bytes each way."""

    def __init__(self, config: TcpCheckConfig) -> None:
        self._config = config
        self.reusable = bool(config.receive)  # a connection that was only to be had is not kept (Envoy)
        self.status = 0
        self.excludes = False

    def begin(self, probe: Probe) -> None:
        """Nothing is to be done."""

    async def ask(self, probe: Probe, host: Host) -> Outcome:
        config = self._config
        if not config.receive:
            if config.send:
                probe.write(config.send)
            return Outcome.GOOD
        got = bytearray()

        def receive(data: bytes) -> bool:
            got.extend(data)
            return found_in_order(config.receive, bytes(got))

        await probe.ask(config.send, receive)
        return Outcome.GOOD


def found_in_order(wanted: tuple[bytes, ...], text: bytes) -> bool:
    """All of them, one behind the other, with anything between (Envoy: PayloadMatcher)."""
    at = 0
    for one in wanted:
        found = text.find(one, at)
        if found < 0:
            return False
        at = found + len(one)
    return True
