"""`python -m drills.upstream PORT`: an upstream whose manners change with what is written to its standard input.

`ok`, `fail` (503), `slow SECONDS`. Answers the number of requests that it has taken in `x-taken`.
"""

import asyncio
import sys
import threading


class Manners:
    status = b"200 OK"
    delay = 0.0
    taken = 0


class Upstream(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            size = end + 4
            if b"\r\ncontent-length: " in head:
                size += int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
            if len(self._buffer) < size:
                return
            self._buffer = self._buffer[size:]
            Manners.taken += 1
            if Manners.delay:
                asyncio.get_running_loop().call_later(Manners.delay, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 %s\r\ncontent-length: 2\r\nx-taken: %d\r\n\r\nok" % (Manners.status, Manners.taken)
            )


def obey() -> None:
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        Manners.status = b"503 Service Unavailable" if word == "fail" else b"200 OK"
        Manners.delay = float(rest) if word == "slow" else 0.0


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=1024)
    threading.Thread(target=obey, daemon=True).start()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
