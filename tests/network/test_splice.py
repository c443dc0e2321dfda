from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest
import uvloop

from pyproxy.network.poller import Poller
from pyproxy.network.splice import Splice, Splices
from tests.support.tcp_peer import RESET


class Line:
    """source -> [splice] -> target, and what came of it."""

    def __init__(self) -> None:
        self.far, self.source = socket.socketpair()
        self.target, self.near = socket.socketpair()
        for sock in (self.far, self.source, self.target, self.near):
            sock.setblocking(False)
        self.loop = asyncio.get_running_loop()
        self.moved = 0
        self.ended: asyncio.Future[bool] = self.loop.create_future()
        self.poller = Poller(self.loop)
        self.splices = Splices(self.poller)
        ends = self.source.fileno(), self.target.fileno()
        self.splice = Splice(self.splices, *ends, self._count, self.ended.set_result)

    def _count(self, size: int) -> None:
        self.moved += size

    def close(self) -> None:
        self.splice.stop()
        assert self.splices.count == 0
        self.poller.close()
        for sock in (self.far, self.source, self.target, self.near):
            sock.close()


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    made = Line()
    yield made
    made.close()


async def _read(line: Line, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += await line.loop.sock_recv(line.near, 1 << 20)
    return got


async def test_every_byte_goes_through_and_is_counted(line: Line) -> None:
    line.splice.start(1 << 20)
    data = os.urandom(3_000_000)
    sending = asyncio.ensure_future(line.loop.sock_sendall(line.far, data))
    assert await _read(line, len(data)) == data
    await sending
    assert line.moved == len(data)


async def test_the_end_of_the_source_is_told_after_its_last_byte(line: Line) -> None:
    line.splice.start(1 << 20)
    await line.loop.sock_sendall(line.far, b"last")
    line.far.close()
    assert await line.ended is True
    assert line.moved == 4
    assert await _read(line, 4) == b"last"


async def test_the_end_of_the_target_is_told(line: Line) -> None:
    line.splice.start(1 << 20)
    line.near.close()
    await line.loop.sock_sendall(line.far, b"x")
    assert await line.ended is False
    assert line.moved == 0


def test_a_source_that_is_broken_is_an_end_too() -> None:
    """With the loop of a worker, which itself would call nobody."""
    uvloop.run(_break_source())


async def _break_source() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    far = socket.create_connection(listening.getsockname())
    source, _ = listening.accept()
    source.setblocking(False)
    target, near = socket.socketpair()
    loop = asyncio.get_running_loop()
    poller = Poller(loop)
    ended: asyncio.Future[bool] = loop.create_future()
    splice = Splice(Splices(poller), source.fileno(), target.fileno(), lambda size: None, ended.set_result)
    splice.start(1 << 20)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    far.close()
    assert await ended is True
    poller.close()
    for sock in (listening, source, target, near):
        sock.close()


async def test_no_more_waits_than_wanted(line: Line) -> None:
    line.splice.start(4096)
    sent = 0
    while True:  # until nobody takes any more
        try:
            sent += line.far.send(bytes(65536))
        except BlockingIOError:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            try:
                sent += line.far.send(bytes(65536))
            except BlockingIOError:
                break
    assert sent - line.moved < 2_000_000
    assert len(await _read(line, sent)) == sent


async def test_one_that_was_stopped_tells_nothing(line: Line) -> None:
    line.splice.start(1 << 20)
    line.splice.stop()
    line.splice.stop()
    line.far.close()
    await asyncio.sleep(0)
    assert not line.ended.done()
    assert line.splices.has_room
