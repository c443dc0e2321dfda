"""A set of byte strings that finds those which a text begins with, in time that hardly grows with the set."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class PrefixSet:
    """The keys are sorted, so that those which start with a common key follow it. Each knows its `parent`: the
    longest other key that it starts with. The longest key that a text starts with is the last key that is not behind
    the text in this order, or one of its parents."""

    __slots__ = ("_keys", "_parents")

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = sorted(set(keys))
        self._parents: list[int] = []
        open_keys: list[int] = []
        for number, key in enumerate(self._keys):
            while open_keys and not key.startswith(self._keys[open_keys[-1]]):
                open_keys.pop()
            self._parents.append(open_keys[-1] if open_keys else -1)
            open_keys.append(number)

    def of(self, text: bytes) -> Iterator[bytes]:
        """The keys that the text starts with, longest first."""
        keys, parents = self._keys, self._parents
        number = bisect_right(keys, text) - 1
        while number >= 0 and not text.startswith(keys[number]):
            number = parents[number]
        while number >= 0:
            yield keys[number]
            number = parents[number]

    def __len__(self) -> int:
        return len(self._keys)
