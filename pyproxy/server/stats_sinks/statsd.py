"""Statistics for statsd and DogStatsD, by datagrams or over a TCP connection.

Counters are what came since the last flush, gauges are what they are. Of a histogram every bin is one line with the
rate at which it was "sampled", so that a thousand requests are a few lines and the server still counts a thousand.
Sources: the statsd metric types document, DogStatsD's datagram format 1.1.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Final

from pyproxy.config.stats import SinkConfig, SinkKind
from pyproxy.server.exporting.destination import Destination
from pyproxy.server.exporting.hub import Surroundings
from pyproxy.server.exporting.line_sender import LineSender
from pyproxy.server.stats_sinks.flush import Flush
from pyproxy.telemetry.histogram import lower_bound, width
from pyproxy.telemetry.stat_tags import shown

_BAD: Final = re.compile(r"[:|@#\n]")
_BAD_TAG: Final = re.compile(r"[|#,\n]")


class StatsdSink:
    """Implements `server.stats_sinks.flush.Sink`."""

    def __init__(self, config: SinkConfig, proxy: Surroundings) -> None:
        self._config = config
        self._tagged = config.kind is SinkKind.DOGSTATSD
        self._socket: socket.socket | None = None
        self._lines: LineSender | None = None
        if config.tcp_cluster:
            self._lines = LineSender(Destination(config.tcp_cluster, proxy.cluster_config))

    def __repr__(self) -> str:
        return f"<StatsdSink {self._config.address or self._config.tcp_cluster}>"

    def prepare(self, flush: Flush) -> list[bytes]:
        """Lines, as many in one piece as fit."""
        pieces: list[bytes] = []
        piece = b""
        for line in self._render(flush):
            if piece and len(piece) + 1 + len(line) > self._config.most_bytes:
                pieces.append(piece)
                piece = b""
            piece = piece + b"\n" + line if piece else line
        return [*pieces, piece] if piece else pieces

    async def send(self, prepared: object) -> None:
        assert isinstance(prepared, list)
        if self._lines is not None:
            await self._lines.send(b"".join(piece + b"\n" for piece in prepared))
            return
        if self._socket is None:
            self._socket = self._open()
        for piece in prepared:
            self._socket.send(piece)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._lines is not None:
            self._lines.close()

    def _open(self) -> socket.socket:
        address = self._config.address
        assert address is not None
        if address.pipe:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        else:
            sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect(address.pipe or (address.host, address.port))
        return sock

    def _render(self, flush: Flush) -> Iterator[bytes]:
        snapshot = flush.snapshot
        for name, more in flush.deltas.items():
            yield self._line(flush, name, f"{more}|c")
        for name, value in snapshot.gauges.items():
            if name in snapshot.used:
                yield self._line(flush, name, f"{value}|g")
        for name, bins in snapshot.intervals.items():
            if name not in snapshot.histograms:
                continue
            for number, count in bins.items():
                middle = lower_bound(number) + (width(number) / 2 if number >= _FINE else 0.0)
                rate = f"|@{1 / count:.6g}" if count > 1 else ""
                yield self._line(flush, name, f"{middle:g}|ms{rate}")

    def _line(self, flush: Flush, name: str, value: str) -> bytes:
        prefix = self._config.prefix
        if not self._tagged:
            return f"{prefix}.{_BAD.sub('_', shown(name))}:{value}".encode()
        tagged = flush.tags(name)
        bare = _BAD.sub("_", ".".join(tagged.order))
        tags = ",".join(f"{_BAD_TAG.sub('_', tag)}:{_BAD_TAG.sub('_', text)}" for tag, text in tagged.tags)
        return f"{prefix}.{bare}:{value}{'|#' + tags if tags else ''}".encode()


_FINE: Final = 100
"""Values below it have a bin each."""
