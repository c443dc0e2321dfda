"""The two versions of a small service that the demo splits traffic between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


async def _serve(version: str, slow: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = f"hello from {version}\n".encode()
    answer = b"HTTP/1.1 200 OK\r\nx-version: %s\r\ncontent-length: %d\r\n\r\n%s" % (version.encode(), len(body), body)
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(random.expovariate(1 / slow))
            writer.write(answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def service(version: str, slow: float = 0.002) -> AsyncIterator[int]:
    """Serve one version on a free port; gives the port. `slow` is its mean time to answer, in seconds."""

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> asyncio.Task[None]:
        return asyncio.ensure_future(_serve(version, slow, reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
