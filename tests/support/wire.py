"""HTTP/1.1 messages as they were seen on the wire: enough parsing to find their ends, and no judgement.

Both the scripted upstream and the raw downstream cut their byte streams with this. Lenient on purpose: it
has to show what a proxy sent, right or wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Framing = Literal["none", "length", "chunked", "close", "broken"]
Fields = tuple[tuple[str, str], ...]

HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Message:
    """One request or response. `head` is the exact bytes, start line and blank line included."""

    head: bytes
    body: bytes
    framing: Framing
    trailers: bytes
    complete: bool

    @property
    def start_line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode("latin-1")

    @property
    def status(self) -> int:
        """The status code of a response, 0 when there is none to be read."""
        parts = self.start_line.split(" ")
        return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0

    @property
    def fields(self) -> Fields:
        return parse_fields(self.head.partition(b"\r\n")[2])

    def field(self, name: str) -> str | None:
        """The values of one header joined with a comma, None when it is absent."""
        values = [value for key, value in self.fields if key.lower() == name]
        return ",".join(values) if values else None


@dataclass(frozen=True, slots=True)
class Body:
    """What follows a head: `size` is the number of bytes it takes on the wire."""

    data: bytes
    framing: Framing
    trailers: bytes
    complete: bool
    size: int


def parse_fields(block: bytes) -> Fields:
    pairs = []
    for line in block.split(b"\r\n"):
        if line:
            name, _, value = line.partition(b":")
            pairs.append((name.decode("latin-1"), value.strip(b" ").decode("latin-1")))
    return tuple(pairs)


def cut_request(buffer: bytes, *, eof: bool = False) -> tuple[Message, int] | None:
    """The first request in `buffer` and its size, None while its head is incomplete.

    A request whose body has not ended is returned with `complete` False.
    """
    end = buffer.find(HEAD_END)
    if end < 0:
        return (Message(buffer, b"", "broken", b"", False), len(buffer)) if eof and buffer else None
    head = buffer[: end + 4]
    return _join(head, _body(head, buffer[len(head) :], until_close=False, eof=eof))


def cut_response(buffer: bytes, method: str, *, eof: bool = False) -> tuple[Message, int] | None:
    """The first response in `buffer`; `method` is that of its request, since HEAD has no body."""
    end = buffer.find(HEAD_END)
    if end < 0:
        return (Message(buffer, b"", "broken", b"", False), len(buffer)) if eof and buffer else None
    head = buffer[: end + 4]
    status = Message(head, b"", "none", b"", True).status
    if method == "HEAD" or 100 <= status < 200 or status in (204, 304):
        return Message(head, b"", "none", b"", True), len(head)
    return _join(head, _body(head, buffer[len(head) :], until_close=True, eof=eof))


def _join(head: bytes, body: Body) -> tuple[Message, int]:
    return Message(head, body.data, body.framing, body.trailers, body.complete), len(head) + body.size


def _body(head: bytes, rest: bytes, *, until_close: bool, eof: bool) -> Body:
    fields = {name.lower(): value for name, value in parse_fields(head.partition(b"\r\n")[2])}
    if fields.get("transfer-encoding", "").lower().endswith("chunked"):
        return _chunked(rest)
    length = fields.get("content-length", "")
    if length.isascii() and length.isdigit():
        size = int(length)
        return Body(rest[:size], "length", b"", len(rest) >= size, min(size, len(rest)))
    if until_close:
        return Body(rest, "close", b"", eof, len(rest))
    return Body(b"", "none", b"", True, 0)


def _chunked(rest: bytes) -> Body:
    data = bytearray()
    at = 0
    while True:
        line_end = rest.find(b"\r\n", at)
        if line_end < 0:
            return Body(bytes(data), "chunked", b"", False, len(rest))
        try:
            size = int(rest[at:line_end].split(b";")[0], 16)
        except ValueError:
            return Body(bytes(data), "broken", b"", False, len(rest))
        at = line_end + 2
        if size == 0:
            return _trailers(bytes(data), rest, at)
        if len(rest) < at + size + 2:
            return Body(bytes(data) + rest[at : at + size], "chunked", b"", False, len(rest))
        data += rest[at : at + size]
        at += size + 2


def _trailers(data: bytes, rest: bytes, at: int) -> Body:
    if rest[at : at + 2] == b"\r\n":
        return Body(data, "chunked", b"", True, at + 2)
    end = rest.find(HEAD_END, at)
    if end < 0:
        return Body(data, "chunked", rest[at:], False, len(rest))
    return Body(data, "chunked", rest[at : end + 2], True, end + 4)
