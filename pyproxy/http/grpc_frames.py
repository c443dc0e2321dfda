"""The messages of gRPC within a body: five bytes, flags and length, before each (doc/PROTOCOL-HTTP2.md)."""

from __future__ import annotations

from typing import Final

PREFIX: Final = 5
COMPRESSED: Final = 1
CONNECT_END: Final = 2
"""Of the Connect protocol: it is the end of a response (connectrpc.com/docs/protocol)."""
TRAILERS: Final = 0x80
"""Of gRPC-Web: it is no message, but what HTTP/2 has as trailers."""
_KNOWN_FLAGS: Final = COMPRESSED | TRAILERS


def frame(message: bytes, flags: int = 0) -> bytes:
    """One message with what stands before it."""
    return bytes((flags,)) + len(message).to_bytes(4, "big") + message


class MessageCounter:
    """Counts the messages that begin in a body, chunk by chunk, whatever their flags."""

    __slots__ = ("_ended", "_ending", "_left", "_prefix", "count")

    def __init__(self, ending: int = 0) -> None:
        """A message with one of the flags `ending` is not counted, nor is anything after it."""
        self.count = 0
        self._left = 0  # of the message
        self._prefix = b""  # as much of the next one as has come
        self._ending = ending
        self._ended = False

    def look(self, chunk: bytes) -> int:
        """How many more have begun."""
        before = self.count
        at, size = 0, len(chunk)
        while at < size and not self._ended:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                continue
            if not self._prefix:
                if chunk[at] & self._ending:
                    self._ended = True
                    break
                self.count += 1
            step = min(PREFIX - len(self._prefix), size - at)
            self._prefix += chunk[at : at + step]
            at += step
            if len(self._prefix) == PREFIX:
                self._left = int.from_bytes(self._prefix[1:], "big")
                self._prefix = b""
        return self.count - before


class MessageReader:
    """Takes messages out of a body. `wrong` tells that the bytes are none; nothing more comes out then."""

    __slots__ = ("_limit", "_needed", "_parts", "rest", "wrong")

    def __init__(self, limit: int = 0) -> None:
        """`limit`: bytes that a message may have; 0 for any."""
        self._limit = limit
        self._parts: list[bytes] = []
        self._needed = PREFIX
        self.rest = 0
        """Bytes of a message that is not complete."""
        self.wrong = False

    def read(self, chunk: bytes) -> list[tuple[int, bytes]]:
        """(flags, message) of those that are complete now."""
        found: list[tuple[int, bytes]] = []
        if self.wrong:
            return found
        self._parts.append(chunk)
        self.rest += len(chunk)
        if self.rest < self._needed:
            return found
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        at, have = 0, len(data)
        self._needed = PREFIX
        while have - at >= PREFIX:
            flags, size = data[at], int.from_bytes(data[at + 1 : at + PREFIX], "big")
            if (flags & ~_KNOWN_FLAGS) or (self._limit and size > self._limit):
                self.wrong = True
                return found
            if have - at - PREFIX < size:
                self._needed = PREFIX + size
                break
            found.append((flags, data[at + PREFIX : at + PREFIX + size]))
            at += PREFIX + size
        self._parts = [data[at:]]
        self.rest = have - at
        return found
