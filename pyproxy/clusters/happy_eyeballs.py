"""A host with several addresses: they are tried one after the other, a moment apart, and the first that answers is it.

RFC 8305; Envoy: Happy Eyeballs Support.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from pyproxy.config.address import AddressConfig

DELAY: Final = 0.3
"""Seconds until the next address is tried beside those that do not answer (Envoy)."""

Connect = Callable[[AddressConfig], Awaitable[socket.socket]]


def in_turn(addresses: Iterable[AddressConfig], version: int = 0, count: int = 1) -> list[AddressConfig]:
    """The families by turns (RFC 8305 section 4), `count` of the first of them first: that of `version` (4 or 6), or of
    the first address. What stands first in its family stays so."""
    by_version: dict[int, list[AddressConfig]] = {4: [], 6: []}
    for address in addresses:
        by_version[_version(address)].append(address)
        version = version or _version(address)
    first, second = by_version.pop(version), next(iter(by_version.values()))
    ordered = []
    left = count
    while first or second:
        if first and (left or not second):
            ordered.append(first.pop(0))
            left -= 1
        else:
            ordered.append(second.pop(0))
            left = 1
        left = max(left, 0)
    return ordered


async def first_connected(addresses: list[AddressConfig], connect: Connect, delay: float = DELAY) -> socket.socket:
    """The first connection that comes about; the others are given up. Raises OSError, that of the last that failed."""
    waiting = list(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    failed: OSError | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(connect(waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=delay if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    running |= done - {task}
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                failed = error
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close)
    assert failed is not None
    raise failed


def _close(task: asyncio.Task[socket.socket]) -> None:
    """A connection that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _version(address: AddressConfig) -> int:
    return 6 if ":" in address.host else 4
