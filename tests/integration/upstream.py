"""An upstream that a test can load: one thread, many connections, bodies of any size, as fast or slow as it is told.

`/echo` gives back what it gets while it gets it; `/digest` says the SHA-256 of it; `/sink` takes it; `/gated` waits
until it is told to read on; `/bytes/N` sends N bytes; `/stale` closes the connection without an answer if it was used
before; `/slow` answers after a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections import Counter
from types import TracebackType

from tests.support.ports import LOOPBACK

Reader = asyncio.StreamReader  # noqa: TID251 - a stand-in may take its time
BLOCK = bytes(range(256)) * 256
LIMIT = 256 * 1024


class Upstream:
    """Runs in a thread of its own until the `with` is over."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.requests: Counter[str] = Counter()
        self.received = 0
        self.gate = threading.Event()
        """Whether bodies of requests to `/gated` are read on."""
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="upstream", daemon=True)

    def __enter__(self) -> Upstream:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, LOOPBACK, 0, limit=LIMIT, backlog=512))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        server.close()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        served = 0
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer, served):
                served += 1
        writer.close()

    async def _answer(self, reader: Reader, writer: asyncio.StreamWriter, served: int) -> bool:
        """False where the connection is to be closed."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, path = head.split(b" ", 2)[:2]
        where = path.decode()
        self.requests[f"{method.decode()} {where}"] += 1
        if where == "/stale" and served:
            return False
        if where == "/slow":
            await asyncio.sleep(0.05)
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
        }
        body = Body(reader, fields)
        if where.startswith("/bytes/"):
            await self._send(writer, int(where.rpartition("/")[2]))
        elif where == "/echo":
            await self._echo(writer, body)
        else:
            digest = hashlib.sha256()
            while chunk := await body.read():
                if where != "/sink":
                    digest.update(chunk)
                self.received += len(chunk)
                while where == "/gated" and not self.gate.is_set():
                    await asyncio.sleep(0.01)
            answer = digest.hexdigest().encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
        return True

    async def _send(self, writer: asyncio.StreamWriter, size: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while size:
            piece = BLOCK if size >= len(BLOCK) else BLOCK[:size]
            writer.write(piece)
            size -= len(piece)
            await writer.drain()

    async def _echo(self, writer: asyncio.StreamWriter, body: Body) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while chunk := await body.read():
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


class Body:
    """The body of one request, piece by piece."""

    def __init__(self, reader: Reader, fields: dict[bytes, bytes]) -> None:
        self._reader = reader
        self._chunked = b"transfer-encoding" in fields
        self._left = int(fields.get(b"content-length", b"0"))

    async def read(self) -> bytes:
        """Empty at the end."""
        if self._chunked:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = await self._reader.readexactly(size + 2)
            return data[:-2]
        if not self._left:
            return b""
        data = await self._reader.read(min(self._left, 65536))
        if not data:
            raise asyncio.IncompleteReadError(b"", self._left)
        self._left -= len(data)
        return data
