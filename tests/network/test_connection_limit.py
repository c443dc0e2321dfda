"""The limit of open connections, and when it is told."""

from __future__ import annotations

from pyproxy.network.connection_limit import ConnectionLimit


def test_counts_up_to_the_limit() -> None:
    limit = ConnectionLimit(2)
    assert [limit.take() for _ in range(3)] == [True, True, False]
    limit.give_back()
    assert limit.take()


def test_told_once_until_there_is_room_again() -> None:
    told: list[bool] = []
    limit = ConnectionLimit(10, told.append)
    for _ in range(10):
        limit.take()
    assert not told
    limit.take()
    limit.take()
    assert told == [True]
    limit.give_back()
    assert told == [True, False]
    limit.take()
    limit.take()
    assert told == [True, False, True]
