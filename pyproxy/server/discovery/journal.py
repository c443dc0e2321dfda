"""What the proxy was told, in memory that all its processes share: the manager writes it down, the workers read on.

Whoever is started later, be it a worker or a manager, finds the present state by reading from the beginning; a process
that dies leaves whole records behind, as a record counts only once the end has been moved behind it. When most of what
stands there is out of date the manager writes the present state anew, in the other of two files.

A record: its size, what it is, the type of the resource, and name, version and body, each with its length.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pyproxy.config.resources import ResourceType

_HEAD: Final = struct.Struct("<IBBBBHHd")
"""Size of the whole record | operation | type | flags | zero | bytes of the name | of the version | time."""
_STATE: Final = struct.Struct("<Q")
_END_BITS: Final = 40
_END: Final = (1 << _END_BITS) - 1
_CHUNK: Final = 256 * 1024
_WASTE: Final = 1024 * 1024
"""Bytes that may be out of date before the present state is written anew, if they are also more than half."""
_TYPES: Final = tuple(ResourceType)
_NUMBERS: Final = {kind: number for number, kind in enumerate(_TYPES)}


class Operation(IntEnum):
    PUT = 1
    REMOVE = 2
    READY = 3
    """All that is needed to serve is here."""
    WHOLE = 4
    """The state that was written anew ends here: what it did not have is gone."""


@dataclass(frozen=True, slots=True)
class Record:
    """`resolves`: a cluster with names to look up. `updated` is seconds since 1970."""

    operation: Operation
    kind: ResourceType = ResourceType.CLUSTER
    name: str = ""
    version: str = ""
    body: bytes = b""
    updated: float = 0.0
    resolves: bool = False

    def pack(self) -> bytes:
        name, version = self.name.encode(), self.version.encode()
        size = _HEAD.size + len(name) + len(version) + len(self.body)
        flags = int(self.resolves)
        kind = _NUMBERS[self.kind]
        return b"".join(
            (
                _HEAD.pack(size, self.operation, kind, flags, 0, len(name), len(version), self.updated),
                name,
                version,
                self.body,
            )
        )


def unpack(data: bytes) -> Iterator[tuple[Record, int]]:
    """All whole records of a run, each with where it ends."""
    at = 0
    while at + _HEAD.size <= len(data):
        size, operation, kind, flags, _, name_size, version_size, updated = _HEAD.unpack_from(data, at)
        if at + size > len(data):
            return
        middle = at + _HEAD.size + name_size
        body = middle + version_size
        yield (
            Record(
                Operation(operation),
                _TYPES[kind],
                data[at + _HEAD.size : middle].decode(),
                data[middle:body].decode(),
                data[body : at + size],
                updated,
                bool(flags),
            ),
            at + size,
        )
        at += size


class Journal:
    """The memory itself: made in the supervisor before it forks."""

    def __init__(self) -> None:
        self.files = tuple(os.memfd_create(f"pyproxy-resources-{half}", os.MFD_CLOEXEC) for half in (0, 1))
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def state(self) -> tuple[int, int]:
        """(how often it was written anew, bytes that count). Both are one word, so they always fit together."""
        word: int = _STATE.unpack_from(self._shared)[0]
        return word >> _END_BITS, word & _END

    def set_state(self, epoch: int, end: int) -> None:
        _STATE.pack_into(self._shared, 0, epoch << _END_BITS | end)

    def close(self) -> None:
        for file in self.files:
            os.close(file)


class JournalWriter:
    """For the one process that writes. `live` is how many bytes the present state would take."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def append(self, records: Iterable[Record]) -> None:
        epoch, end = self._journal.state
        data = b"".join(record.pack() for record in records)
        _write(self._journal.files[epoch & 1], data, end)
        self._journal.set_state(epoch, end + len(data))

    def wasteful(self, live: int) -> bool:
        _, end = self._journal.state
        return end - live > max(_WASTE, end // 2)

    def rewrite(self, records: Iterable[Record]) -> None:
        """The present state, anew. Readers that are half way through the old one begin again."""
        epoch, _ = self._journal.state
        file = self._journal.files[(epoch + 1) & 1]
        os.ftruncate(file, 0)
        end = 0
        for record in (*records, Record(Operation.WHOLE)):
            data = record.pack()
            _write(file, data, end)
            end += len(data)
        self._journal.set_state(epoch + 1, end)
        # Who still reads the old one notices when it looks at the state again.
        os.ftruncate(self._journal.files[epoch & 1], 0)


class JournalReader:
    """Follows a journal from the beginning."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.epoch = 0
        self._at = 0

    def read(self) -> list[Record]:
        """The next records, at most about 256 KB of them; none if all were read.

        After a rewrite they come from its beginning, up to a record WHOLE.
        """
        while True:
            epoch, end = self._journal.state
            if epoch != self.epoch:
                self.epoch, self._at = epoch, 0
            if self._at >= end:
                return []
            data = os.pread(self._journal.files[epoch & 1], min(_CHUNK, end - self._at), self._at)
            records = list(unpack(data))
            if not records:  # one that is larger than a chunk
                size = _HEAD.unpack_from(data)[0] if len(data) >= _HEAD.size else 0
                records = list(unpack(os.pread(self._journal.files[epoch & 1], size, self._at)))
            if self._journal.state[0] == epoch and records:
                self._at += records[-1][1]
                return [record for record, _ in records]


def _write(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written
