from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyproxy.http.drive import Drive, Waiter


class Recorder(Drive):
    """Says what came of the coroutine."""

    def __init__(self) -> None:
        super().__init__()
        self.outcome: Any = None

    def on_return(self, value: Any) -> None:
        assert self.outcome is None
        self.outcome = value

    def on_raise(self, error: BaseException) -> None:
        assert self.outcome is None
        self.outcome = error


def test_a_coroutine_that_does_not_wait_is_over_at_once() -> None:
    async def work() -> str:
        return "done"

    drive = Recorder()
    drive.run(work())
    assert drive.outcome == "done"
    drive.step()
    assert drive.outcome == "done"


def test_a_waiter_steps_its_coroutine_when_it_is_woken() -> None:
    first, second, over = Waiter(), Waiter(), Waiter()
    over.wake()
    seen: list[int] = []

    async def work() -> str:
        for number, waiter in enumerate((first, over, second)):
            await waiter
            seen.append(number)
        return "done"

    drive = Recorder()
    drive.run(work())
    assert seen == []
    first.wake()
    assert seen == [0, 1]
    first.wake()
    second.wake()
    assert (seen, drive.outcome) == ([0, 1, 2], "done")


def test_a_failure_is_told() -> None:
    waiter = Waiter()

    async def work() -> None:
        await waiter
        raise ValueError("because")

    drive = Recorder()
    drive.run(work())
    waiter.wake()
    assert isinstance(drive.outcome, ValueError)


async def test_asyncio_futures_and_tasks_can_be_awaited() -> None:
    loop = asyncio.get_running_loop()
    future, fails, cancelled = loop.create_future(), loop.create_future(), loop.create_future()

    async def work() -> list[Any]:
        seen: list[Any] = [await future]
        await asyncio.sleep(0)
        try:
            await fails
        except OSError as error:
            seen.append(error)
        seen.append(await asyncio.gather(asyncio.sleep(0, "a"), asyncio.sleep(0, "b")))
        await cancelled
        return seen

    drive = Recorder()
    drive.run(work())
    future.set_result(1)
    error = OSError()
    fails.set_exception(error)
    for _ in range(10):
        await asyncio.sleep(0)
    assert drive.outcome is None
    cancelled.set_result(None)
    await asyncio.sleep(0)
    assert drive.outcome == [1, error, ["a", "b"]]


async def test_a_cancelled_future_is_a_failure_like_others() -> None:
    future = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await future

    drive = Recorder()
    drive.run(work())
    future.cancel()
    await asyncio.sleep(0)
    assert isinstance(drive.outcome, asyncio.CancelledError)


class Gone(Exception):
    """Nobody wants the result."""


def test_a_coroutine_is_stopped_where_it_waits() -> None:
    waiter = Waiter()
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await waiter
        finally:
            cleaned.append("up")

    drive = Recorder()
    drive.run(work())
    drive.throw(Gone())
    drive.throw(Gone())
    waiter.wake()
    assert (cleaned, drive.outcome) == (["up"], None)


@pytest.mark.parametrize("how", ["returns", "waits", "fails", "translates"])
def test_however_a_coroutine_takes_it_throwing_ends_it(how: str, caplog: pytest.LogCaptureFixture) -> None:
    first, second = Waiter(), Waiter()

    async def work() -> str:
        try:
            await first
        except Gone as gone:
            if how == "waits":
                await second
            elif how == "fails":
                raise ValueError("in the middle of it") from None
            elif how == "translates":
                raise Gone from gone
        return "too late"

    drive = Recorder()
    drive.run(work())
    drive.throw(Gone())
    first.wake()
    second.wake()
    assert drive.outcome is None
    assert ("a filter failed" in caplog.text) == (how in ("fails", "translates"))


async def test_a_future_that_comes_after_the_end_changes_nothing() -> None:
    future = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await future

    drive = Recorder()
    drive.run(work())
    drive.throw(Gone())
    future.set_result(1)
    await asyncio.sleep(0)
    assert drive.outcome is None
