from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pyproxy.server import channel
from pyproxy.server.channel import Channel, ChannelError, make_pair
from pyproxy.server.frames import Envelope, Kind, encode


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = make_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def nobody(message: dict[str, Any]) -> Any:
    raise AssertionError(f"nobody was to be asked: {message}")


async def test_a_question_gets_its_answer_at_once_or_later(pair: tuple[socket.socket, socket.socket]) -> None:
    async def later(value: int) -> int:
        await asyncio.sleep(0)
        return value * 2

    def answer(message: dict[str, Any]) -> Any:
        return later(message["value"]) if message["op"] == "later" else message["value"] + 1

    loop = asyncio.get_running_loop()
    asker, answerer = Channel(loop, pair[0], nobody), Channel(loop, pair[1], answer)
    assert await asker.ask({"op": "now", "value": 1}, 60) == 2
    assert await asker.ask({"op": "later", "value": 21}, 60) == 42
    assert await asyncio.gather(*(asker.ask({"op": "now", "value": n}, 60) for n in range(100))) == list(range(1, 101))
    asker.close()
    answerer.close()


async def test_a_message_larger_than_the_socket_buffer_arrives(pair: tuple[socket.socket, socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    hosts = [{"address": f"10.0.0.{n}", "counters": {"rq_total": n}} for n in range(20_000)]
    asker, answerer = Channel(loop, pair[0], nobody), Channel(loop, pair[1], lambda message: hosts)
    assert await asker.ask({"op": "clusters"}, 100) == hosts
    asker.close()
    answerer.close()


async def test_both_ends_can_ask_and_tell(pair: tuple[socket.socket, socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    left, right = Channel(loop, pair[0], told.put_nowait), Channel(loop, pair[1], lambda message: "right")
    right.tell({"event": "state"})
    assert await asyncio.wait_for(told.get(), 60) == {"event": "state"}
    assert await left.ask({}, 60) == "right"
    left.close()
    right.close()


async def test_a_failing_handler_fails_the_question_only(
    pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: dict[str, Any]) -> Any:
        if message["op"] == "bad":
            raise KeyError("no such thing")
        return "good"

    loop = asyncio.get_running_loop()
    asker, answerer = Channel(loop, pair[0], nobody), Channel(loop, pair[1], fail)
    with pytest.raises(ChannelError, match="no such thing"):
        await asker.ask({"op": "bad"}, 60)
    assert await asker.ask({"op": "good"}, 60) == "good"
    assert "a message failed" in caplog.text
    asker.close()
    answerer.close()


async def test_no_answer_in_time(pair: tuple[socket.socket, socket.socket]) -> None:
    asker = Channel(asyncio.get_running_loop(), pair[0], nobody)
    with pytest.raises(ChannelError, match="no answer within"):
        await asker.ask({"op": "status"}, 0.01)
    asker.close()


async def test_questions_to_a_process_that_was_restarted_fail_at_once(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    asker = Channel(asyncio.get_running_loop(), pair[0], nobody)
    question = asyncio.ensure_future(asker.ask({"op": "status"}, 60))
    await asyncio.sleep(0)
    asker.peer_restarted()
    with pytest.raises(ChannelError, match="restarted"):
        await question
    asker.close()


async def test_an_answer_to_a_dead_asker_is_not_taken_for_ours(pair: tuple[socket.socket, socket.socket]) -> None:
    """A restarted manager counts its questions anew, while answers to its predecessor are still on their way."""
    loop = asyncio.get_running_loop()
    for frame in encode(Envelope(Kind.REPLY, 1, 1, "for the dead")):
        pair[1].send(frame)
    asker, answerer = Channel(loop, pair[0], nobody), Channel(loop, pair[1], lambda message: "for the living")
    assert await asker.ask({"op": "status"}, 60) == "for the living"
    asker.close()
    answerer.close()


async def test_a_peer_that_never_reads_cannot_fill_our_memory(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "QUEUE_LIMIT", 10)
    asker = Channel(asyncio.get_running_loop(), pair[0], nobody)
    told = 0
    with contextlib.suppress(ChannelError):
        while told < 100:
            asker.tell({"op": "x", "filling": "x" * 60_000})
            told += 1
    assert 5 <= told < 50
    asker.close()
