"""TCP through an HTTP proxy: what opens the tunnel, and over HTTP/1.1 what bytes look like inside of it. No I/O.

Envoy: TcpProxy.TunnelingConfig. Security posture: trusts the upstream no further than its status line and framing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pyproxy.http import h1_encode
from pyproxy.http.codec import CodecError, CodecLimits, CodecOptions, End, ResponseHead
from pyproxy.http.engines import new_response_decoder
from pyproxy.http.message import Headers, Request
from pyproxy.routes.header_changes import Change
from pyproxy.telemetry.formatter import BytesFormatter

if TYPE_CHECKING:
    from pyproxy.filters.network.tcp_proxy.config import TunnelConfig

_MOST_HEAD: Final = 60 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?")
_HOST: Final = re.compile(rb"[!-~]+")
_CHUNKED: Final = (b"transfer-encoding", b"chunked")


class BadTunnel(Exception):
    """It cannot be asked for, or what the upstream says is no HTTP/1."""


class Tunnel(Protocol):
    """One tunnel."""

    opening: bytes
    """What asks for it."""

    def answer(self, data: bytes) -> int:
        """The status that the upstream has answered with; 0 until it has. Raises BadTunnel."""

    def unwrap(self, data: bytes) -> tuple[bytes, bool]:
        """(what came through it, whether that was all), after a good answer. Raises BadTunnel."""

    def wrap(self, data: bytes) -> bytes:
        """What sends bytes through it."""

    def end(self) -> bytes:
        """What says that no more will come; empty where only closing it does."""


class Opening(NamedTuple):
    """A request for a tunnel: POST where there is a path, else CONNECT."""

    host: bytes
    path: bytes
    headers: Headers


class TunnelMaker:
    """What tunnels of one TCP proxy have in common."""

    def __init__(self, config: TunnelConfig, hostname: BytesFormatter, change: Change | None) -> None:
        self._config = config
        self._hostname = hostname
        self._change = change

    def make(self, session: Request) -> Tunnel:
        """For a session, which is an empty request. Raises BadTunnel where there is no name to ask for."""
        host, path, headers = self.opening(session)
        return PostTunnel(host, path, headers) if path else ConnectTunnel(host, headers)

    def opening(self, session: Request) -> Opening:
        """What asks for a tunnel, whatever HTTP it is asked in. Raises BadTunnel as `make` does."""
        headers = Headers()
        if self._change is not None:
            self._change(headers, session, None)
        host = self._hostname(session, None)
        if _HOST.fullmatch(host) is None:
            raise BadTunnel("no host name")
        return Opening(host, self._config.post_path, headers)


class ConnectTunnel:
    """RFC 9110 section 9.3.6: after a 2xx the connection is the tunnel, whatever the response says of a body."""

    def __init__(self, host: bytes, headers: Headers) -> None:
        self.opening = h1_encode.request_head(b"CONNECT", host, host, headers.pairs)
        self._seen = b""

    def answer(self, data: bytes) -> int:
        self._seen += data
        while True:
            end = self._seen.find(b"\r\n\r\n")
            if end < 0 or end > _MOST_HEAD:
                if len(self._seen) > _MOST_HEAD:
                    raise BadTunnel("a head without an end")
                return 0
            found = _STATUS.fullmatch(self._seen[: self._seen.index(b"\r\n")])
            if found is None:
                raise BadTunnel("no status line")
            self._seen = self._seen[end + 4 :]
            status = int(found[1])
            if status >= 200 or status == 101:
                return status

    def unwrap(self, data: bytes) -> tuple[bytes, bool]:
        before, self._seen = self._seen, b""
        return before + data, False

    def wrap(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class PostTunnel:
    """The bodies of a POST and of its response, at the same time."""

    def __init__(self, host: bytes, path: bytes, headers: Headers) -> None:
        self.opening = h1_encode.request_head(b"POST", path, host, [*headers.pairs, _CHUNKED])
        self._decoder = new_response_decoder(CodecOptions(limits=CodecLimits()))
        self._decoder.expect(b"POST")
        self._waiting: list[bytes] = []
        self._ended = False

    def answer(self, data: bytes) -> int:
        status = 0
        for event in self._decoder.receive(data):
            if isinstance(event, ResponseHead):
                if event.status >= 200:
                    status = event.status
                    self._ended = event.ended
                    self._waiting.append(event.body)
            else:
                self._take(event)
        return status

    def unwrap(self, data: bytes) -> tuple[bytes, bool]:
        if data:
            for event in self._decoder.receive(data):
                self._take(event)
        waiting, self._waiting = self._waiting, []
        return b"".join(waiting), self._ended

    def _take(self, event: object) -> None:
        if isinstance(event, bytes):
            self._waiting.append(event)
        elif isinstance(event, End):
            self._ended = True
        elif isinstance(event, CodecError):
            raise BadTunnel(event.details)

    def wrap(self, data: bytes) -> bytes:
        return b"".join(h1_encode.chunk(data))

    def end(self) -> bytes:
        return h1_encode.LAST_CHUNK
