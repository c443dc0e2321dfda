from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from pyproxy.clusters.happy_eyeballs import first_connected, in_turn
from pyproxy.config.address import AddressConfig

A4, B4, C4 = (AddressConfig(f"10.0.0.{n}", 80) for n in (1, 2, 3))
A6, B6, C6 = (AddressConfig(f"::{n}", 80) for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("addresses", "version", "count", "order"),
    [
        ([A4], 0, 1, [A4]),
        ([A4, B4], 0, 1, [A4, B4]),
        ([A6, B6, A4, B4], 0, 1, [A6, A4, B6, B4]),
        ([A4, A6, B6, C6], 0, 1, [A4, A6, B6, C6]),
        ([A4, B4, A6, B6], 6, 1, [A6, A4, B6, B4]),
        ([A6, B6, C6, A4, B4], 0, 2, [A6, B6, A4, C6, B4]),
        ([A4, B4], 6, 1, [A4, B4]),
    ],
)
def test_families_by_turns(
    addresses: list[AddressConfig], version: int, count: int, order: list[AddressConfig]
) -> None:
    assert in_turn(addresses, version, count) == order


class Tried:
    """Connections that come about, fail or do neither, as the test says."""

    def __init__(self, **outcomes: str) -> None:
        self.outcomes = outcomes
        self.order: list[AddressConfig] = []
        self.made: dict[AddressConfig, socket.socket] = {}
        self.given_up: list[AddressConfig] = []

    def __call__(self, how: dict[AddressConfig, str]) -> Callable[[AddressConfig], asyncio.Future[socket.socket]]:
        async def connect(address: AddressConfig) -> socket.socket:
            self.order.append(address)
            try:
                if how[address] == "hangs":
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.given_up.append(address)
                raise
            if how[address] == "fails":
                raise ConnectionRefusedError(address.host)
            made = self.made[address] = socket.socket()
            return made

        return lambda address: asyncio.ensure_future(connect(address))


async def test_the_next_is_tried_at_once_where_one_fails() -> None:
    tried = Tried()
    found = await first_connected([A4, B4, C4], tried({A4: "fails", B4: "answers", C4: "answers"}), delay=3600)
    assert (tried.order, found) == ([A4, B4], tried.made[B4])
    found.close()


async def test_the_next_is_tried_beside_one_that_does_not_answer() -> None:
    tried = Tried()
    found = await first_connected([A4, B4], tried({A4: "hangs", B4: "answers"}), delay=0.005)
    assert (tried.order, found) == ([A4, B4], tried.made[B4])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert tried.given_up == [A4]
    found.close()


async def test_where_none_answers_the_last_failure_is_told() -> None:
    with pytest.raises(ConnectionRefusedError, match=r"10\.0\.0\.2"):
        await first_connected([A4, B4], Tried()({A4: "fails", B4: "fails"}), delay=3600)


async def test_who_does_not_want_it_any_more_gives_all_of_them_up() -> None:
    tried = Tried()
    waiting = asyncio.ensure_future(first_connected([A4, B4], tried({A4: "hangs", B4: "hangs"}), delay=0.001))
    while len(tried.order) < 2:
        await asyncio.sleep(0.001)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sorted(tried.given_up, key=str) == [A4, B4]
