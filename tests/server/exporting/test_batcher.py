"""The queue before a collector: when it sends, what it drops, and that a dead collector costs counters only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from pyproxy.server.exporting import batcher
from pyproxy.server.exporting.batcher import Batcher, BatchLimits, Busy, Refused


@dataclass
class Tally:
    """Implements `Counts`."""

    sent_items: int = 0
    dropped_items: int = 0
    failures: int = 0
    timers: int = 0
    change: asyncio.Event = field(default_factory=asyncio.Event)

    def sent(self, items: int) -> None:
        self.sent_items += items
        self.change.set()

    def dropped(self, items: int) -> None:
        self.dropped_items += items
        self.change.set()

    def failed(self) -> None:
        self.failures += 1

    def flushed_by_timer(self) -> None:
        self.timers += 1


class Receiver:
    """A collector that fails as often as it is told to."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.batches: list[list[Any]] = []

    async def __call__(self, batch: list[Any]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(batch)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "_FIRST_PAUSE", 0.0)


async def test_enough_items_are_sent_at_once() -> None:
    tally, receiver = Tally(), Receiver()
    queue = Batcher("c", receiver, BatchLimits(interval=1000, soon=2, most=2), tally)
    queue.offer([1])
    queue.offer([2, 3])
    while tally.sent_items < 3:
        await tally.change.wait()
        tally.change.clear()
    assert receiver.batches == [[1, 2], [3]]
    assert tally.timers == 0
    await queue.close(1)


async def test_few_items_wait_for_the_interval() -> None:
    tally, receiver = Tally(), Receiver()
    queue = Batcher("c", receiver, BatchLimits(interval=0.01, soon=100), tally)
    queue.offer([1])
    await tally.change.wait()
    assert receiver.batches == [[1]]
    assert tally.timers >= 1
    await queue.close(1)


async def test_what_does_not_fit_is_dropped() -> None:
    tally = Tally()
    queue = Batcher("c", Receiver(), BatchLimits(interval=1000, soon=100, queue=3), tally)
    queue.offer([1, 2])
    queue.offer([3, 4, 5])
    assert tally.dropped_items == 2
    await queue.close(1)
    assert tally.sent_items == 3


async def test_a_busy_collector_is_asked_again() -> None:
    tally, receiver = Tally(), Receiver(Busy("503"), ConnectionRefusedError())
    queue = Batcher("c", receiver, BatchLimits(interval=1000, soon=1), tally)
    queue.offer([1])
    await tally.change.wait()
    assert (tally.sent_items, tally.failures, tally.dropped_items) == (1, 2, 0)
    await queue.close(1)


async def test_what_is_refused_is_dropped_and_the_next_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    tally, receiver = Tally(), Receiver(Refused("400"))
    queue = Batcher("the collector", receiver, BatchLimits(interval=1000, soon=1), tally)
    queue.offer([1])
    await tally.change.wait()
    tally.change.clear()
    assert (tally.dropped_items, tally.failures) == (1, 1)
    assert "the collector does not take what is sent to it: 400" in caplog.text
    queue.offer([2])
    await tally.change.wait()
    assert receiver.batches == [[2]]
    await queue.close(1)


async def test_a_dead_collector_costs_what_was_sent_to_it() -> None:
    tally, receiver = Tally(), Receiver(*(ConnectionRefusedError() for _ in range(3)))
    queue = Batcher("c", receiver, BatchLimits(interval=1000, soon=1), tally)
    queue.offer([1])
    await tally.change.wait()
    assert (tally.dropped_items, tally.failures) == (1, 3)
    await queue.close(1)


async def test_what_waits_is_sent_at_the_end_or_given_up() -> None:
    tally, stuck = Tally(), asyncio.Event()

    async def never(batch: list[Any]) -> None:
        await stuck.wait()

    queue = Batcher("c", never, BatchLimits(interval=1000, soon=1, most=1), tally)
    queue.offer([1, 2])
    await queue.close(0.01)
    assert tally.sent_items == 0
    assert tally.dropped_items >= 1
