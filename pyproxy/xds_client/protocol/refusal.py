"""The answer to a response that was refused, wholly or in part: in which words, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pyproxy.xds_client.protocol.types import WHOLE_WORLD

_AT_ONCE: Final = 2
_BASE: Final = 0.5
_MOST: Final = 30.0
_MOST_DOUBLINGS: Final = 10


def refusal_text(type_url: str, reasons: Mapping[str, str]) -> str:
    """The reasons by name as one text, in the words of Envoy; empty where there are none."""
    if not reasons:
        return ""
    what = WHOLE_WORLD.get(type_url)
    if what is None:
        return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    between = ", " if what == "cluster" else "\n"
    return f"Error adding/updating {what}(s) " + between.join(f"{name}: {reason}" for name, reason in reasons.items())


class RefusalPace:
    """Who sends the same fault again as soon as it is refused is answered more and more slowly.

    A control plane that is in a loop would keep us both busy; one that sends something new is answered at once.
    """

    __slots__ = ("_count", "_last")

    def __init__(self) -> None:
        self._last: Mapping[str, str] = {}
        self._count = 0

    def repeats(self, reasons: Mapping[str, str]) -> bool:
        """Whether the last answer said the same, in whatever order."""
        return reasons == self._last

    def seconds(self, reasons: Mapping[str, str]) -> float:
        """How long the answer waits; there are no `reasons` where all was well."""
        if reasons != self._last:
            self._last, self._count = reasons, 0
        self._count += 1
        if not reasons or self._count <= _AT_ONCE:
            return 0.0
        return min(_BASE * 2.0 ** min(self._count - _AT_ONCE - 1, _MOST_DOUBLINGS), _MOST)
