from __future__ import annotations

import pytest

from pyproxy.network.connection import Connection
from pyproxy.network.cork import Cork
from tests.support.loop import ManualLoop
from tests.support.transport import ManualTransport


class Echo(Connection):
    """Answers what it gets, word by word."""

    def __init__(self, cork: Cork, friend: Echo | None = None) -> None:
        super().__init__(cork)
        self.friend = friend
        self.keep = False
        self.seen: list[object] = []

    def on_bytes(self, data: bytes) -> None:
        for word in data.split():
            self.write(word)
        if self.friend is not None:
            self.friend.write(data)
            self.friend.write(b"!")
        if data == b"close":
            self.close()
            self.write(b" lost")

    def on_eof(self) -> bool:
        self.write(b"bye")
        return self.keep

    def on_closed(self, error: Exception | None) -> None:
        self.seen.append(error)

    def on_writable(self, writable: bool) -> None:
        self.seen.append(writable)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> ManualLoop:
    return ManualLoop.ticking(monkeypatch)


def connect(connection: Connection) -> ManualTransport:
    return ManualTransport(connection)


def test_what_a_callback_writes_goes_out_in_one_write_per_connection(loop: ManualLoop) -> None:
    cork = Cork(loop)
    friend = Echo(cork)
    echo = Echo(cork, friend)
    here, there = connect(echo), connect(friend)
    here.deliver(b"a b c")
    assert (here.written, here.writes) == (b"abc", 1)
    assert (there.written, there.writes) == (b"a b c!", 1)
    assert not cork.inside


def test_what_is_written_elsewhere_goes_out_at_the_end_of_the_turn(loop: ManualLoop) -> None:
    cork = Cork(loop)
    echo = Echo(cork)
    here = connect(echo)
    echo.write(b"a")
    echo.write(b"b")
    assert here.writes == 0
    loop.run_soon()
    assert (here.written, here.writes) == (b"ab", 1)


def test_a_close_comes_after_what_was_written(loop: ManualLoop) -> None:
    echo = Echo(Cork(loop))
    here = connect(echo)
    here.deliver(b"close")
    assert here.written == b"close lost"
    assert here.lost
    assert echo.closed
    echo.write(b"more")
    echo.close()
    loop.run_soon()
    assert here.written == b"close lost"


def test_an_abort_ends_a_close_that_waits_for_its_peer(loop: ManualLoop) -> None:
    echo = Echo(Cork(loop))
    here = ManualTransport(echo, limit=10)
    here.deliver(b"x" * 11)
    echo.close()
    here.settle()
    assert not here.lost
    echo.abort()
    here.settle()
    assert here.lost


@pytest.mark.parametrize("keep", [False, True])
def test_the_end_of_input_may_leave_the_connection_half_open(loop: ManualLoop, keep: bool) -> None:
    echo = Echo(Cork(loop))
    echo.keep = keep
    here = connect(echo)
    here.deliver_eof()
    assert here.written == b"bye"
    assert echo.closed is not keep
    assert here.lost is not keep


def test_a_half_close_comes_after_what_was_written(loop: ManualLoop) -> None:
    echo = Echo(Cork(loop))
    here = connect(echo)
    echo.write(b"a")
    echo.shutdown_write()
    assert (here.written, here.ended) == (b"a", True)
    loop.run_soon()


def test_a_peer_that_falls_behind_is_told_of(loop: ManualLoop) -> None:
    echo = Echo(Cork(loop))
    here = ManualTransport(echo, limit=2)
    here.deliver(b"abc")
    assert echo.write_blocked
    here.read()
    assert echo.seen == [False, True]


def test_reading_is_paused_and_resumed_once(loop: ManualLoop) -> None:
    echo = Echo(Cork(loop))
    here = connect(echo)
    echo.pause_reading()
    echo.pause_reading()
    assert not here.reading
    echo.resume_reading()
    assert here.reading
    echo.abort()
    echo.pause_reading()
    assert here.reading


def test_addresses_of_a_connection(loop: ManualLoop) -> None:
    echo = Echo(Cork(loop))
    connect(echo)
    assert (echo.peer(), echo.local()) == (("127.0.0.1", 40000), ("127.0.0.1", 10000))


class Failing(ManualTransport):
    def write(self, data: bytes) -> None:
        raise RuntimeError("no")


def test_one_connection_that_cannot_be_written_to_does_not_hold_up_the_others(loop: ManualLoop) -> None:
    cork = Cork(loop)
    good, bad = Echo(cork), Echo(cork)
    there = connect(good)
    Failing(bad)
    good.write(b"a")
    bad.write(b"b")
    with pytest.raises(RuntimeError):
        loop.run_soon()
    loop.run_soon()
    good.write(b"c")
    loop.run_soon()
    assert there.written == b"ac"
