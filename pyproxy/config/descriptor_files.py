"""The serialised descriptor set as a database: a file is read when something of it is asked for.

A configuration uses a few dozen of some five hundred files, and a descriptor takes ten times the memory that its bytes
take. (google.protobuf.descriptor_database gives the interface; it holds every file in memory.)
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import FileDescriptorProto

_FILE = 0x0A
_NAME = 0x0A
_PACKAGE = 0x12
"""Tags of `FileDescriptorSet.file`, `FileDescriptorProto.name` and `.package` (descriptor.proto; wire type 2)."""


class DescriptorFiles:
    """The files of a set, by name and by package. Raises KeyError where there is none, as `DescriptorPool` expects."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._places: dict[str, tuple[int, int]] = {}
        self._packages: dict[str, list[str]] = {}
        self._more: dict[str, FileDescriptorProto] = {}
        for start, end in _files(packed):
            name, package = _head(packed, start)
            self._places[name] = (start, end)
            self._packages.setdefault(package, []).append(name)

    def add(self, file: FileDescriptorProto) -> None:
        """One more, which is not of the set."""
        self._more[file.name] = file
        self._packages.setdefault(file.package, []).append(file.name)

    def __iter__(self) -> Iterator[FileDescriptorProto]:
        for name in (*self._places, *self._more):
            yield self.FindFileByName(name)

    def FindFileByName(self, name: str) -> FileDescriptorProto:  # noqa: N802 (protobuf's name)
        if name in self._more:
            return self._more[name]
        start, end = self._places[name]
        return FileDescriptorProto.FromString(self._packed[start:end])

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptorProto:  # noqa: N802 (protobuf's name)
        """`symbol` is the full name of a message, an enum, a service or an extension, or of something within one."""
        package, _, rest = symbol.rpartition(".")
        while package:
            for name in self._packages.get(package, ()):
                file = self.FindFileByName(name)
                if _declares(file, rest.partition(".")[0]):
                    return file
            package, _, last = package.rpartition(".")
            rest = f"{last}.{rest}"
        raise KeyError(symbol)


def _declares(file: FileDescriptorProto, name: str) -> bool:
    return any(
        one.name == name for kind in (file.message_type, file.enum_type, file.extension, file.service) for one in kind
    )


def _files(packed: bytes) -> Iterator[tuple[int, int]]:
    """Where each file begins and ends."""
    at = 0
    while at < len(packed):
        if packed[at] != _FILE:
            raise ValueError("this is no set of descriptors")
        size, at = _varint(packed, at + 1)
        yield at, at + size
        at += size


def _head(packed: bytes, at: int) -> tuple[str, str]:
    """Name and package, with which each serialised file begins."""
    found = []
    for tag in (_NAME, _PACKAGE):
        if packed[at] != tag:
            raise ValueError("a descriptor begins with its name and its package")
        size, at = _varint(packed, at + 1)
        found.append(packed[at : at + size].decode())
        at += size
    return found[0], found[1]


def _varint(packed: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = packed[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
