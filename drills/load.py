"""The clients of a drill: so many connections, each with one request after the other, perhaps at a given rate."""

import asyncio
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Seen:
    """What the clients saw. `hosts` counts by the answering upstream where the proxy tells (x-host)."""

    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    broken: int = 0
    hosts: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    refused_in: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    """Seconds, of each request."""

    def percentile(self, percent: float) -> float:
        """Seconds."""
        ordered = sorted(self.took)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0

    @property
    def errors(self) -> int:
        return self.broken + sum(count for status, count in self.statuses.items() if status >= 400)


class Clients:
    """Runs until `stop`; `seen` may be replaced at any time, to count anew."""

    def __init__(self, port: int, connections: int = 20, rate: float = 0.0, body: bytes = b"") -> None:
        self.seen = Seen()
        self._port = port
        self._pause = connections / rate if rate else 0.0
        method = b"POST" if body else b"GET"
        length = b"content-length: %d\r\n" % len(body) if body else b""
        self._request = b"%s / HTTP/1.1\r\nhost: drill\r\n%s\r\n%s" % (method, length, body)
        self._stop = False
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._client(self._pause * n / connections)) for n in range(connections)]

    async def stop(self) -> Seen:
        self._stop = True
        await asyncio.wait(self._tasks, timeout=15)
        for task in self._tasks:
            task.cancel()
        return self.seen

    async def _client(self, after: float) -> None:
        await asyncio.sleep(after)
        while not self._stop:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.seen.broken += 1
                await asyncio.sleep(0.05)
                continue
            try:
                while not self._stop and await self._one(reader, writer):
                    pass
            except (OSError, asyncio.IncompleteReadError, ValueError):
                self.seen.requests += 1
                self.seen.broken += 1
            finally:
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection can carry another request."""
        begun = time.monotonic()
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0]) if b"content-length: " in head else 0
        if length:
            await reader.readexactly(length)
        took = time.monotonic() - begun
        seen, status = self.seen, int(head[9:12])
        seen.requests += 1
        seen.took.append(took)
        seen.statuses[status] = seen.statuses.get(status, 0) + 1
        seen.slowest = max(seen.slowest, took)
        if b"x-envoy-overloaded" in head:
            seen.refused_in.append(took)
        if b"x-host: " in head:
            host = head.split(b"x-host: ")[1].split(b"\r\n")[0].decode()
            seen.hosts[host] = seen.hosts.get(host, 0) + 1
        if self._pause:
            await asyncio.sleep(max(0.0, self._pause - took))
        return b"connection: close" not in head
