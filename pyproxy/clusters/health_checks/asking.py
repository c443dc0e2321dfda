"""Asking one host for its health, by HTTP/1 or by bare TCP. Envoy: HttpHealthCheckerImpl, TcpHealthCheckerImpl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pyproxy.clusters.health_checks.probe import Probe
from pyproxy.clusters.health_checks.state import Outcome
from pyproxy.config.health_check import HttpCheckConfig, TcpCheckConfig
from pyproxy.http import h1_encode
from pyproxy.http.codec import CodecError, CodecOptions, End, ResponseHead
from pyproxy.http.engines import new_response_decoder
from pyproxy.http.message import Headers
from pyproxy.telemetry.formatter import literal_bytes

if TYPE_CHECKING:
    from pyproxy.clusters.host import Host

_AGENT: Final = (b"user-agent", b"Envoy/HC")
_DEGRADED: Final = b"x-envoy-degraded"


class Asking(Protocol):
    """One kind of check. `ask` raises OSError where the host cannot be reached; whether the connection can be used
    again is in `reusable`."""

    reusable: bool

    async def ask(self, probe: Probe, host: Host) -> Outcome: ...


class AskHttp:
    """A GET, or another method; the status decides."""

    def __init__(self, config: HttpCheckConfig, cluster: str) -> None:
        self._config = config
        self._cluster = cluster
        self.reusable = False

    async def ask(self, probe: Probe, host: Host) -> Outcome:
        answer = _Answer(self._config)
        probe.ended = answer.on_eof
        await probe.ask(self._request(host), answer.receive)
        self.reusable = answer.reusable
        if answer.error is not None:
            return Outcome.UNREACHED
        return answer.outcome()

    def _request(self, host: Host) -> bytes:
        config = self._config
        headers = Headers([_AGENT])
        for one in config.add:
            headers.add(one.name, literal_bytes(one.value) or b"")
        for name in config.remove:
            headers.remove(name)
        authority = (config.host or host.check_hostname or self._cluster).encode()
        method = config.method.encode()
        return h1_encode.request_head(method, config.path.encode(), authority, headers.pairs)


class _Answer:
    """What came back."""

    def __init__(self, config: HttpCheckConfig) -> None:
        self._config = config
        self._decoder = new_response_decoder(CodecOptions())
        self._decoder.expect(config.method.encode())
        self._body = b""
        self._head: ResponseHead | None = None
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
                self._head = event
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
        self._body += data[: max(0, (self._config.response_buffer or len(data)) - len(self._body))]

    def outcome(self) -> Outcome:
        head, config = self._head, self._config
        if head is None:
            return Outcome.UNREACHED
        if not any(start <= head.status < end for start, end in config.expected):
            retriable = any(start <= head.status < end for start, end in config.retriable)
            return Outcome.RETRIABLE if retriable else Outcome.BAD
        if not found_in_order(config.receive, self._body):
            return Outcome.BAD
        return Outcome.DEGRADED if _DEGRADED in head.headers.index else Outcome.GOOD


class AskTcp:
    """A connection, and perhaps some bytes each way."""

    def __init__(self, config: TcpCheckConfig) -> None:
        self._config = config
        self.reusable = bool(config.receive)  # a connection that was only to be had is not kept (Envoy)

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
