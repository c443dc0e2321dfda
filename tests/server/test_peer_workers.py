from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pyproxy.clusters.peers import Note, Topic
from pyproxy.server.channel import make_pair
from pyproxy.server.peer_workers import PeerWorkers

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, ...]]:
    made = tuple(make_pair() for _ in range(3))
    yield made
    for pair in made:
        for end in pair:
            end.close()


class Ear:
    def __init__(self, pairs: tuple[Pair, ...], index: int) -> None:
        self.heard: list[Note] = []
        senders = [pair[0] for other, pair in enumerate(pairs) if other != index]
        self.peers = PeerWorkers(asyncio.get_running_loop(), index, pairs[index][1], senders, self.heard.append)

    async def hears(self, count: int) -> list[Note]:
        while len(self.heard) < count:
            await asyncio.sleep(0.005)
        return self.heard


async def test_all_others_hear_what_one_tells(pairs: tuple[Pair, ...]) -> None:
    ears = [Ear(pairs, index) for index in range(3)]
    values: list[Any] = [True, 1.5, "ü"]
    ears[1].peers.tell(Topic.CHECKED, "c", "10.0.0.1:80", values)
    ears[1].peers.tell(Topic.TRAFFIC, "c")
    wanted = [Note(1, Topic.CHECKED, "c", "10.0.0.1:80", values), Note(1, Topic.TRAFFIC, "c", "", [])]
    assert await ears[0].hears(2) == wanted
    assert await ears[2].hears(2) == wanted
    assert ears[1].heard == []
    for ear in ears:
        ear.peers.close()


async def test_thousands_of_notes_go_in_pieces(pairs: tuple[Pair, ...]) -> None:
    one, other = Ear(pairs, 0), Ear(pairs, 1)
    for number in range(2000):
        one.peers.tell(Topic.EJECTED, "c", f"10.0.0.1:{number}", [1.0, 2, 3.0, 4])
    assert [note.host for note in await other.hears(2000)] == [f"10.0.0.1:{number}" for number in range(2000)]
    one.peers.close()
    other.peers.close()


async def test_a_worker_that_does_not_read_holds_up_nobody(pairs: tuple[Pair, ...]) -> None:
    one, other = Ear(pairs, 0), Ear(pairs, 1)  # nobody reads for worker 2
    for _ in range(40):
        for number in range(100):
            one.peers.tell(Topic.RETURNED, "c" * 50, str(number))
        await asyncio.sleep(0)
    assert len(await other.hears(4000)) == 4000
    assert one.peers.lost > 0
    one.peers.close()
    other.peers.close()


async def test_who_is_alone_tells_nobody(pairs: tuple[Pair, ...]) -> None:
    alone = PeerWorkers(asyncio.get_running_loop(), 0, pairs[0][1], (), lambda note: None)
    alone.tell(Topic.TRAFFIC, "c")
    assert alone.patience == 0.0
    alone.close()
