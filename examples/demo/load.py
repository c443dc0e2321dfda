"""Sends requests through the proxy and remembers what came back, by version."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field

KEEP = 2000
"""Latencies that are kept for percentiles."""


@dataclass
class Seen:
    """What one version has answered. Latencies in seconds."""

    requests: int = 0
    errors: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEEP))

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Load:
    """A few downstream connections that ask again and again."""

    def __init__(self, port: int, connections: int = 8) -> None:
        self._port = port
        self._connections = connections
        self.by_version: dict[str, Seen] = {}
        self.statuses: Counter[int] = Counter()

    @property
    def requests(self) -> int:
        return sum(seen.requests for seen in self.by_version.values())

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(*(self._one_connection() for _ in range(self._connections)))

    async def _one_connection(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except ConnectionError:
                await asyncio.sleep(0.1)
                continue
            try:
                while True:
                    await self._ask(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                self._note("(no answer)", 0, 0.0)
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.perf_counter()
        writer.write(b"GET /hello HTTP/1.1\r\nhost: greeter\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        await reader.readexactly(int(fields.get("content-length", "0")))
        status = int(lines[0].split(" ")[1])
        self._note(fields.get("x-version", "(the proxy)"), status, time.perf_counter() - began)

    def _note(self, version: str, status: int, latency: float) -> None:
        seen = self.by_version.setdefault(version, Seen())
        seen.requests += 1
        self.statuses[status] += 1
        if status == 200:
            seen.latencies.append(latency)
        else:
            seen.errors += 1
