"""`python -m drills.h2_echo PORT`: an upstream that speaks HTTP/2 and gives back what it gets, while it gets it.

A request with `x-reset-after: N` is reset after so many bytes of it.
"""

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

STREAMS = 1000


@dataclass(slots=True)
class _Stream:
    reset_after: int = -1
    came: int = 0
    waiting: bytearray = field(default_factory=bytearray)
    ended: bool = False


class Echo(asyncio.Protocol):
    def __init__(self) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))
        self._h2.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS}
        )
        self._streams: dict[int, _Stream] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            self._on(event)
        self._flush()

    def _on(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                after = int(dict(event.headers).get("x-reset-after", "-1"))
                self._streams[event.stream_id] = _Stream(after)
                self._h2.send_headers(event.stream_id, [(":status", "200")])
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self._take(event.stream_id, event.data or b"")
            case h2.events.StreamEnded() if event.stream_id in self._streams:
                self._streams[event.stream_id].ended = True
                self._pump(event.stream_id)
            case h2.events.StreamReset():
                self._streams.pop(event.stream_id, None)
            case h2.events.WindowUpdated():
                for number in [event.stream_id] if event.stream_id else list(self._streams):
                    self._pump(number)

    def _take(self, number: int, data: bytes) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.came += len(data)
        stream.waiting += data
        if 0 <= stream.reset_after <= stream.came:
            del self._streams[number]
            self._h2.reset_stream(number, 2)
        else:
            self._pump(number)

    def _pump(self, number: int) -> None:
        with contextlib.suppress(h2.exceptions.StreamClosedError):  # the event of its reset is still to come
            self._give_back(number)

    def _give_back(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        while stream.waiting:
            size = min(
                len(stream.waiting), self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size
            )
            if size <= 0:
                return
            self._h2.send_data(number, bytes(stream.waiting[:size]))
            del stream.waiting[:size]
        if stream.ended:
            self._h2.end_stream(number)
            del self._streams[number]

    def _flush(self) -> None:
        self._transport.write(self._h2.data_to_send())


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
