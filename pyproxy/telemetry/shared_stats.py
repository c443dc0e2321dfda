"""Statistics in shared memory: one area per process, written by that process alone, read by the one that renders.

The supervisor makes the areas before it forks, so they outlive the processes that write them: when a worker dies its
counters stay, and its successor goes on from them. An area is a sparse memory file; pages that were never touched
cost nothing. It has a page of words and two halves, each an array of 64-bit values and a directory
(`telemetry.shared_layout`) that says which value is which. The writer appends to the half in use; to get rid of
removed names it writes all anew into the other half and switches.

Readers never wait for the writer and it never waits for them. Each update is a sequence lock: the word SEQUENCE is
odd while it lasts, and a reader that saw it odd or changed reads again. Histograms are single values too (one per
bin that was ever hit), so a reader sees all the numbers of one flush or all of another, and nothing torn.
"""

from __future__ import annotations

import array
import logging
import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from pyproxy.telemetry.shared_layout import Kind, pack

log = logging.getLogger("pyproxy.telemetry.shared_stats")

AREA_BYTES = 64 * 1024 * 1024
# Words of the first page.
SEQUENCE = 0
EPOCH = 1
ALIVE = 2
DIRECTORY_END = 3  # and 4, one per half
VALUE_COUNT = 5  # and 6

_WORD = 8
_INT64 = 1 << 63
_U32 = (1 << 32) - 1
_FEW_RECORDS = 1000
_barrier = threading.Lock()


def fence() -> None:
    """Keep memory accesses before and after apart, also on processors that reorder them (ARM).

    Python has no barrier of its own. To take and release a lock lets accesses slip into the critical section but
    not out of it; to do it twice leaves them no way to pass each other.
    """
    with _barrier:
        pass
    with _barrier:
        pass


class Cell(Protocol):
    """Whatever has a value to publish. `slot` is -1 until it has one."""

    slot: int
    value: int


class _Void:
    """Fills the slots of what was removed."""

    slot = -1
    value = 0


_VOID = _Void()


class StatsArea:
    """The memory. Make it before fork; it is then the same in every process."""

    def __init__(self, label: str, size: int = AREA_BYTES) -> None:
        self.label = label
        file = os.memfd_create(f"pyproxy-stats-{label}", os.MFD_CLOEXEC)
        try:
            os.ftruncate(file, size)
            self.memory = mmap.mmap(file, size)
        finally:
            os.close(file)
        self.words = memoryview(self.memory).cast("q")
        half = (size - mmap.PAGESIZE) // 2 // mmap.PAGESIZE * mmap.PAGESIZE
        values = half // 4 // mmap.PAGESIZE * mmap.PAGESIZE
        self.value_capacity = values // _WORD
        self.directory_capacity = half - values
        self._halves = (mmap.PAGESIZE, mmap.PAGESIZE + half)
        self._half_size = half

    def value_start(self, half: int) -> int:
        """In words."""
        return self._halves[half] // _WORD

    def directory_start(self, half: int) -> int:
        """In bytes."""
        return self._halves[half] + self.value_capacity * _WORD

    def bury(self) -> None:
        """The writer has died: its counters count on, its gauges say nothing any more."""
        self.words[ALIVE] = 0

    def forget(self, half: int) -> None:
        """Give the pages of a half back to the system, if it is one that can take them."""
        with suppress(OSError):
            self.memory.madvise(mmap.MADV_REMOVE, self._halves[half], self._half_size)

    def __repr__(self) -> str:
        return f"<StatsArea {self.label}>"


class StatsWriter:
    """The writing side of one area."""

    def __init__(self, area: StatsArea) -> None:
        self._area = area
        self._words = area.words
        # A predecessor that died in mid-update has left it odd; its half-written update has become whole as it is.
        self._words[SEQUENCE] += self._words[SEQUENCE] & 1
        self._half = area.words[EPOCH] & 1
        self._end = 0
        self._records = 0
        self._gone = 0
        self._full = False
        self._cells: list[Cell] = []
        self._free: list[int] = []
        self._last_id = 0
        self._tables: dict[str, int] = {}
        self.rejected = 0
        """How many stats found no room and are not published."""

    @property
    def wasteful(self) -> bool:
        """More than half of the directory speaks of what is gone, or it is full and could be less so."""
        return (self._full and self._gone > 0) or (self._gone > _FEW_RECORDS and 2 * self._gone > self._records)

    @contextmanager
    def update(self, *, anew: bool) -> Iterator[None]:
        """Publish inside this block. `anew`: into the other half, from nothing; what was there before is dropped."""
        words = self._words
        words[SEQUENCE] |= 1
        fence()
        if anew:
            self._half = (words[EPOCH] & 1) ^ 1
            self._end = self._records = self._gone = 0
            self._full = False
            self._tables.clear()
            self._cells.clear()
            self._free.clear()
            self.rejected = 0
        yield
        self._write_values()
        words[DIRECTORY_END + self._half] = self._end
        words[VALUE_COUNT + self._half] = len(self._cells)
        words[ALIVE] = os.getpid()
        if anew:
            words[EPOCH] += 1
            self._area.forget(self._half ^ 1)
        fence()
        words[SEQUENCE] += 1

    def add_scope(self, prefix: str, table: str) -> int:
        """A number for the scope. `table`: what is shown as 0 before it is used (`<kind> <name>` lines)."""
        number = self._new_id()
        self._append(pack(Kind.SCOPE, prefix, number, self._table(table) if table else 0))
        return number

    def add_value(self, kind: Kind, scope: int, name: str, cell: Cell) -> None:
        slot = self._take_slot()
        self._place(cell, slot, pack(kind, name, scope, slot & _U32))

    def add_histogram(self, scope: int, name: str) -> int:
        number = self._new_id()
        return number if self._append(pack(Kind.HISTOGRAM, name, scope, number)) else 0

    def add_bin(self, histogram: int, number: int, cell: Cell) -> None:
        slot = self._take_slot()
        self._place(cell, slot, pack(Kind.BIN, "", histogram, slot & _U32, number))

    def set_text(self, scope: int, name: str, value: str) -> None:
        """Texts are few and seldom change: each change is a record of its own."""
        self._append(pack(Kind.TEXT, name, scope, payload=value.encode()))
        self._gone += 1

    def mark_used(self, slot: int) -> None:
        if slot >= 0:
            self._append(pack(Kind.USED, b=slot))

    def remove_scope(self, scope: int, cells: Sequence[Cell]) -> None:
        self._append(pack(Kind.REMOVED, a=scope))
        self._gone += len(cells) + 2
        for cell in cells:
            if cell.slot >= 0:
                self._cells[cell.slot] = _VOID
                self._free.append(cell.slot)
                cell.slot = -1

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _table(self, names: str) -> int:
        number = self._tables.get(names)
        if number is None:
            number = self._tables[names] = self._new_id()
            self._append(pack(Kind.TABLE, a=number, payload=names.encode()))
        return number

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        if len(self._cells) >= self._area.value_capacity:
            return -1
        self._cells.append(_VOID)
        return len(self._cells) - 1

    def _append(self, record: bytes) -> bool:
        """Nothing is appended after something had no room: a record may build on an earlier one."""
        end = self._end + len(record)
        if self._full or end > self._area.directory_capacity:
            self._full = True
            return False
        start = self._area.directory_start(self._half)
        self._area.memory[start + self._end : start + end] = record
        self._end = end
        self._records += 1
        return True

    def _place(self, cell: Cell, slot: int, record: bytes) -> None:
        cell.slot = -1
        if slot >= 0 and self._append(record):
            self._cells[slot] = cell
            cell.slot = slot
            return
        if slot >= 0:
            self._free.append(slot)
        if not self.rejected:
            log.error("%r is full: further stats are not shown", self._area)
        self.rejected += 1

    def _write_values(self) -> None:
        start = self._area.value_start(self._half)
        try:
            values = array.array("q", [cell.value for cell in self._cells])
        except (OverflowError, TypeError):
            # One bad number must not stop the others.
            values = array.array("q", [_whole(cell) for cell in self._cells])
        self._words[start : start + len(values)] = memoryview(values)


def _whole(cell: Cell) -> int:
    try:
        return max(-_INT64, min(_INT64 - 1, int(cell.value)))
    except (OverflowError, TypeError, ValueError):
        log.exception("%r has a value that is no number", cell)
        return 0
