"""The downstream of a soak: many streams on many connections, all of them open at the same time.

Everything about a stream (its size, whether and where it is reset, and by whom) comes of the seed and its number.
"""

import asyncio
import contextlib
import hashlib
import random
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events
import h2.exceptions

SIZES = (0, 1, 100, 16_384, 16_385, 65_536)
MOST = 60_000
RESET = 0.1
"""Of the streams are reset by the downstream, and as many by the upstream."""


@dataclass(slots=True)
class Tally:
    """What became of the streams. `wrong` are descriptions of those that went wrong."""

    streams: int = 0
    open_at_once: int = 0
    whole: int = 0
    reset_by_us: int = 0
    reset_by_upstream: int = 0
    sent: int = 0
    wrong: list[str] | None = None


class Stream:
    """One request: half of its body goes out at once, the rest when all streams are open."""

    def __init__(self, seed: int, number: int) -> None:
        rng = random.Random(seed << 32 | number)
        size = rng.choice((*SIZES, rng.randrange(MOST)))
        self.body = rng.randbytes(size)
        fate = rng.random()
        self.cut = rng.randrange(size + 1) if fate < RESET else -1
        self.reset_after = rng.randrange(size + 1) if RESET <= fate < 2 * RESET and size else -1
        self.number = number
        self.sent = 0
        self.came = hashlib.sha256()
        self.size_came = 0
        self.answered = False
        self.over = ""


class Connection(asyncio.Protocol):
    """Some of the streams. `on_answered` and `on_over` are told of each."""

    def __init__(self, soak: "Soak", streams: list[Stream]) -> None:
        self._soak = soak
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
        self._gone = asyncio.get_running_loop().create_future()
        self._streams = dict(zip(range(1, 2 * len(streams), 2), streams, strict=True))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        for at, stream in self._streams.items():
            fields = [(":method", "POST"), (":scheme", "http"), (":authority", "soak"), (":path", f"/{stream.number}")]
            if stream.reset_after >= 0:
                fields.append(("x-reset-after", str(stream.reset_after)))
            self._h2.send_headers(at, fields)
        for at in self._streams:
            self.pump(at)
        self._flush()

    def go_on(self) -> None:
        """All are open: send the rest."""
        for at in self._streams:
            self.pump(at)
        self._flush()

    def pump(self, at: int) -> None:
        with contextlib.suppress(h2.exceptions.StreamClosedError):  # the event of its reset is still to come
            self._pump(at)

    def _pump(self, at: int) -> None:
        stream, free = self._streams[at], self._soak.all_open
        if stream.over:
            return
        most = len(stream.body) if free else len(stream.body) // 2
        if free and stream.cut >= 0:
            most = stream.cut
        while stream.sent < most:
            size = min(most - stream.sent, self._h2.local_flow_control_window(at), self._h2.max_outbound_frame_size)
            if size <= 0:
                return
            self._h2.send_data(at, stream.body[stream.sent : stream.sent + size])
            stream.sent += size
        if free and stream.cut >= 0:
            self._h2.reset_stream(at, 8)
            self._end(stream, "reset by us")
        elif free and stream.sent == len(stream.body):
            stream.sent += 1  # so that it ends once
            self._h2.end_stream(at)

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            self._on(event)
        self._flush()

    async def close(self) -> None:
        self._transport.close()
        await self._gone

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set_result(None)
        for stream in self._streams.values():
            if not stream.over:
                self._end(stream, f"the connection ended: {exc}")

    def _on(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                stream = self._streams[event.stream_id]
                self._answered(stream)
                status = dict(event.headers)[":status"]
                if status != "200":
                    self._end(stream, "reset by upstream" if stream.reset_after >= 0 else f"status {status}")
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                stream = self._streams[event.stream_id]
                stream.came.update(event.data or b"")
                stream.size_came += len(event.data or b"")
            case h2.events.StreamEnded():
                self._judge(self._streams[event.stream_id])
            case h2.events.StreamReset():
                stream = self._streams[event.stream_id]
                self._answered(stream)
                if not stream.over:
                    meant = stream.reset_after >= 0
                    self._end(stream, "reset by upstream" if meant else f"reset with {event.error_code}")
            case h2.events.WindowUpdated():
                for at in [event.stream_id] if event.stream_id else list(self._streams):
                    self.pump(at)
            case h2.events.ConnectionTerminated():
                self._transport.close()

    def _judge(self, stream: Stream) -> None:
        if not stream.over:
            right = stream.came.digest() == hashlib.sha256(stream.body).digest()
            self._end(stream, "whole" if right else f"{stream.size_came} other bytes came than {len(stream.body)}")

    def _answered(self, stream: Stream) -> None:
        if not stream.answered:
            stream.answered = True
            self._soak.on_answered()

    def _end(self, stream: Stream, how: str) -> None:
        if not stream.over:
            self._answered(stream)
            stream.over = how
            self._soak.on_over(stream)

    def _flush(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._h2.data_to_send())


class Soak:
    """`await run()` gives the tally."""

    def __init__(self, port: int, streams: int, connections: int, seed: int) -> None:
        self._port = port
        made = [Stream(seed, number) for number in range(streams)]
        self._parts = [made[at::connections] for at in range(connections)]
        self._answered = self._over = 0
        self._done = asyncio.get_running_loop().create_future()
        self._connections: list[Connection] = []
        self.all_open = False
        self.tally = Tally(streams, wrong=[])

    async def run(self) -> Tally:
        loop = asyncio.get_running_loop()
        for part in self._parts:
            _, made = await loop.create_connection(lambda part=part: Connection(self, part), "127.0.0.1", self._port)
            self._connections.append(made)
        await self._done
        for one in self._connections:
            await one.close()
        return self.tally

    def on_answered(self) -> None:
        self._answered += 1
        if self._answered == self.tally.streams and not self.all_open:
            self.all_open = True
            self.tally.open_at_once = self.tally.streams - self._over
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        for one in self._connections:
            one.go_on()

    def on_over(self, stream: Stream) -> None:
        tally = self.tally
        self._over += 1
        tally.sent += min(stream.sent, len(stream.body))
        match stream.over:
            case "whole":
                tally.whole += 1
            case "reset by us":
                tally.reset_by_us += 1
            case "reset by upstream":
                tally.reset_by_upstream += 1
            case wrong:
                assert tally.wrong is not None
                tally.wrong.append(f"stream {stream.number}: {wrong}")
        if self._over == tally.streams and not self._done.done():
            self._done.set_result(None)
