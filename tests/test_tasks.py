from __future__ import annotations

import asyncio
import itertools
import logging
import random

import pytest
import uvloop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pyproxy import clock
from pyproxy.tasks import Deadlines, DeadlineTable, call_every, spawn
from tests.support.loop import ManualLoop


class Item:
    """Remembers when its time was up."""

    def __init__(self, name: str = "", then: str = "") -> None:
        self.name = name
        self.then = then
        self.fired: list[float] = []

    def on_deadline(self, deadlines: Deadlines) -> None:
        self.fired.append(clock.now)
        if self.then == "again":
            deadlines.arm(self)
        elif self.then == "early":
            deadlines.arm_early(self, 0.5)
        elif self.then == "fails":
            raise ValueError(self.name)

    @property
    def times(self) -> list[float]:
        """Rounded: a timer may be called half a millisecond early."""
        return [round(at, 2) for at in self.fired]

    def __repr__(self) -> str:
        return f"<Item {self.name}>"


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> ManualLoop:
    return ManualLoop.ticking(monkeypatch)


def test_time_is_up_in_the_order_of_arming(loop: ManualLoop) -> None:
    deadlines = Deadlines(loop, 2.0)
    first, second = Item(), Item()
    deadlines.arm(first)
    loop.advance(0.5)
    deadlines.arm(second)
    loop.advance(5)
    assert (first.times, second.times) == ([1002.0], [1002.5])
    assert len(deadlines) == 0
    assert loop.timers == 0


def test_what_is_disarmed_does_not_run_out(loop: ManualLoop) -> None:
    deadlines = Deadlines(loop, 2.0)
    kept, left = Item(), Item()
    deadlines.arm(left)
    deadlines.arm(kept)
    deadlines.disarm(left)
    deadlines.disarm(left)
    loop.advance(5)
    assert (kept.times, left.times) == ([1002.0], [])


def test_arming_again_restarts_the_clock_and_arming_once_does_not(loop: ManualLoop) -> None:
    deadlines = Deadlines(loop, 2.0)
    again, once = Item(), Item()
    deadlines.arm(again)
    deadlines.arm_once(once)
    loop.advance(1)
    deadlines.arm(again)
    deadlines.arm_once(once)
    loop.advance(5)
    assert (again.times, once.times) == ([1003.0], [1002.0])


def test_one_timer_stands_for_all(loop: ManualLoop) -> None:
    deadlines = Deadlines(loop, 2.0)
    for _ in range(100):
        deadlines.arm(Item())
        loop.advance(0.01)
    assert loop.timers == 1


def test_one_timer_stands_for_all_that_arm_themselves_again(loop: ManualLoop) -> None:
    deadlines = Deadlines(loop, 2.0)
    items = [Item(then="again") for _ in range(3)]
    for item in items:
        deadlines.arm(item)
        loop.advance(0.1)
    loop.advance(100)
    assert loop.timers == 1
    assert [len(item.fired) for item in items] == [50, 50, 50]


def test_an_early_look_may_be_moved_or_called_off(loop: ManualLoop) -> None:
    deadlines = Deadlines(loop, 10.0)
    moved, off, both = Item(), Item(), Item()
    deadlines.arm_early(moved, 1.0)
    deadlines.arm_early(moved, 3.0)
    deadlines.arm_early(off, 1.0)
    deadlines.disarm(off)
    deadlines.arm_early(both, 1.0)
    deadlines.arm(both)
    deadlines.disarm(both)
    assert len(deadlines) == 1
    loop.advance(20)
    assert (moved.times, off.times, both.times) == ([1003.0], [], [])


def test_one_that_fails_does_not_stop_the_others(loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
    deadlines = Deadlines(loop, 2.0)
    deadlines.arm(Item("bad", then="fails"))
    good, later = Item(), Item()
    deadlines.arm(good)
    loop.advance(3)
    deadlines.arm(later)
    loop.advance(3)
    assert good.fired
    assert later.fired
    assert "the timeout of <Item bad> failed" in caplog.text


def test_durations_that_requests_name_are_not_kept_for_ever(loop: ManualLoop) -> None:
    table = DeadlineTable(loop)
    assert table.of(15.0) is table.of(15.0)
    for milliseconds in range(1_000):
        item = Item()
        deadlines = table.of(milliseconds / 1000)
        deadlines.arm(item)
        deadlines.disarm(item)
    rare = Item()
    table.of(77.7).arm(rare)
    loop.advance(100)
    assert len(rare.fired) == 1
    assert len(table._by_seconds) < 500


class DeadlinesMachine(RuleBasedStateMachine):
    """Any sequence of arming and disarming, against a list of what is due when."""

    items = Bundle("items")

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.loop = ManualLoop.ticking(self.patch)
        self.deadlines = Deadlines(self.loop, 4.0)
        self.due: dict[Item, float] = {}
        self.known: list[Item] = []

    @rule(target=items)
    def make(self) -> Item:
        item = Item()
        self.known.append(item)
        return item

    @rule(item=items)
    def arm(self, item: Item) -> None:
        self.deadlines.disarm(item)
        self.deadlines.arm(item)
        self.due[item] = self.loop.now + 4.0

    @rule(item=items, seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def arm_early(self, item: Item, seconds: float) -> None:
        self.deadlines.disarm(item)
        self.deadlines.arm_early(item, seconds)
        self.due[item] = self.loop.now + seconds

    @rule(item=consumes(items))
    def disarm(self, item: Item) -> None:
        self.deadlines.disarm(item)
        self.due.pop(item, None)

    @rule(seconds=st.sampled_from([0.25, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        end = self.loop.now + seconds
        expected = {item: at for item, at in self.due.items() if at <= end}
        for item in self.known:
            item.fired.clear()
        self.loop.advance(seconds)
        assert {item: item.times for item in self.known if item.fired} == {
            i: [round(at, 2)] for i, at in expected.items()
        }
        for item in expected:
            del self.due[item]

    @invariant()
    def nothing_is_forgotten(self) -> None:
        assert len(self.deadlines) == len(self.due)

    def teardown(self) -> None:
        self.patch.undo()


TestDeadlinesMachine = DeadlinesMachine.TestCase
TestDeadlinesMachine.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


def test_the_clock_of_a_real_loop_is_never_early() -> None:
    """How late depends on the machine; early would cut requests short."""

    async def main() -> list[tuple[float, float]]:
        loop = asyncio.get_running_loop()
        table = DeadlineTable(loop)
        rng = random.Random(5)
        armed: list[tuple[float, Item]] = []
        for _ in range(60):
            item, seconds = Item(), rng.choice([0.02, 0.05, 0.09])
            clock.tick()
            table.of(seconds).arm(item)
            armed.append((clock.now + seconds, item))
            await asyncio.sleep(rng.random() * 0.004)
        while not all(item.fired for _, item in armed):
            await asyncio.sleep(0.01)
        return [(due, item.fired[0]) for due, item in armed]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for due, fired in runner.run(main()):
            assert fired >= due - 0.0006


async def test_a_task_that_fails_is_logged_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("because")

    task = spawn(fail(), "doomed")
    await asyncio.wait((task,))
    await asyncio.sleep(0)
    assert ("pyproxy.tasks", logging.ERROR, "task doomed failed") in caplog.record_tuples


def test_something_is_called_again_and_again_until_it_is_not_wanted(loop: ManualLoop) -> None:
    count = itertools.count()
    calls: list[int] = []
    cancel = call_every(loop, 2.0, lambda: calls.append(next(count)))
    loop.advance(7)
    cancel()
    loop.advance(7)
    assert calls == [0, 1, 2]
