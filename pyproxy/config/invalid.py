"""What is wrong with a configuration, and where: errors that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

Path = tuple[str | int, ...]

_NAME = re.compile(r"[@\w-]+")


def render_path(path: Path) -> str:
    """`("static_resources", "listeners", 0, "name")` as `static_resources.listeners[0].name`.

    Keys of maps that do not look like names stand in brackets: `typed_per_filter_config["envoy.filters.http.cors"]`.
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not _NAME.fullmatch(step):
            text += f'["{step}"]'
        else:
            text += f".{step}" if text else step
    return text or "(the whole document)"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file. Lines and columns count from 1; line 0 means that only the file is known."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at one place. `expected` says what would be right, `nearest` the likeliest valid name.

    `place` is set where the path does not tell it, such as a key that is there twice.
    """

    path: Path
    reason: str
    expected: str = ""
    nearest: str = ""
    place: Place | None = None

    def __str__(self) -> str:
        text = f"{render_path(self.path)}: {self.reason}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.nearest:
            text += f"; did you mean {self.nearest!r}?"
        return text


class InvalidConfig(Exception):
    """A configuration that cannot be used. Holds every fault that was found in one run."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(f) for f in self.faults))


@dataclass(frozen=True, slots=True)
class Unhonoured:
    """A field that was set, is known, and is not honoured. `severe` where that changes traffic or security."""

    path: Path
    field: str
    severe: bool


@dataclass(slots=True)
class Report:
    """Collects what one compilation found: faults, and fields that are not honoured.

    `allow_unknown_fields` is the user's choice for structs that stand for messages.
    """

    faults: list[Fault] = field(default_factory=list)
    unhonoured: list[Unhonoured] = field(default_factory=list)
    allow_unknown_fields: bool = False
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    """Serialised secrets that came from elsewhere, by their slots."""
    static_secrets: Mapping[str, bytes] = field(default_factory=dict)
    """Those of the bootstrap, by their names."""

    def add(self, path: Path, reason: str, *, expected: str = "", nearest: str = "") -> None:
        self.faults.append(Fault(path, reason, expected, nearest))

    @contextmanager
    def isolate(self) -> Iterator[None]:
        """Keep the faults of one part and go on with the next: all errors in one run."""
        try:
            yield
        except InvalidConfig as error:
            self.faults.extend(error.faults)

    def raise_if_faulty(self) -> None:
        if self.faults:
            raise InvalidConfig(self.faults)
