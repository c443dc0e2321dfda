"""What has been made is remembered, so that what comes again costs one look-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

ENTRIES: Final = 512
LONGEST: Final = 256


class Memo(dict[Any, str | None]):
    """`memo[key]` is `make(key)`. Bounded, because clients choose what is logged: when full it starts anew, and what
    is long is made each time. No key may be longer than what is made of it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[Any], str | None]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> str | None:
        text = self._make(key)
        if text is None or len(text) <= LONGEST:
            if len(self) >= ENTRIES:
                self.clear()
            self[key] = text
        return text
