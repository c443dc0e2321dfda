"""`Words`: the command line of a subcommand, as flags with a value, flags without, and the rest."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pyproxy.server.flags import UsageError


@dataclass(slots=True)
class Words:
    values: dict[str, str] = field(default_factory=dict)
    switches: set[str] = field(default_factory=set)
    rest: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, argv: Sequence[str], valued: Collection[str], switches: Collection[str] = ()) -> Words:
        """Split `argv`; the names are given with their dashes. A flag that is not there gives the nearest one."""
        words, found = iter(argv), cls()
        for word in words:
            name, equals, value = word.partition("=")
            if not word.startswith("-"):
                found.rest.append(word)
            elif name in valued:
                taken = value if equals else next(words, None)
                if taken is None:
                    raise UsageError(f"{name} needs a value")
                found.values[name] = taken
            elif word in switches:
                found.switches.add(word)
            else:
                raise UsageError(_unknown(name, [*valued, *switches]))
        return found

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """The whole number of a flag, within bounds."""
        text = self.values.get(name, str(default))
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise UsageError(f"{name} {text!r}: expected a whole number from {low} to {high}")
        return int(text)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"unknown flag {name!r}" + (f"; did you mean {near[0]!r}?" if near else f"; expected {', '.join(known)}")
