"""What was found for recent paths, for all virtual hosts of a table together.

Whoever sends requests chooses the paths, so the number of entries and their size are bounded: when it is full it
starts anew. That keeps paths that come often, for the price of finding each of them again now and then.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

MAX_ENTRIES: Final = 4096
MAX_PATH: Final = 256
"""Longer paths are not kept: with the keys that fill it a full cache stays below 2 MiB."""

T = TypeVar("T")


class PathCache(Generic[T]):
    """The dicts belong to the virtual hosts, which read them directly."""

    __slots__ = ("_entries", "_used")

    def __init__(self) -> None:
        self._entries = 0
        self._used: list[dict[bytes, T]] = []

    def keep(self, cache: dict[bytes, T], path: bytes, found: T) -> None:
        if len(path) > MAX_PATH:
            return
        if self._entries >= MAX_ENTRIES:
            for used in self._used:
                used.clear()
            self._used.clear()
            self._entries = 0
        if not cache:
            self._used.append(cache)
        cache[path] = found
        self._entries += 1

    def __len__(self) -> int:
        return self._entries
