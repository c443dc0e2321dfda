"""What an HTTP/2 peer may not do too often: judged frame by frame, before an engine sees the frame.

Most attacks on HTTP/2 use frames that are valid one by one: floods of PING and SETTINGS whose answers pile up
(CVE-2019-9512, -9515), of empty frames (-9518), of PRIORITY and WINDOW_UPDATE, header blocks without end
(CVE-2024-27919). The bounds are Envoy's (Http2ProtocolOptions). It also holds a few rules on stream numbers that
libnghttp2 does not.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.http2 import H2Options
from pyproxy.http.h2_session import ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, PROTOCOL_ERROR, STREAM_CLOSED

_HEAD: Final = 9
_PREFACE: Final = 24
_DATA: Final = 0
_HEADERS: Final = 1
_PRIORITY: Final = 2
_RST_STREAM: Final = 3
_SETTINGS: Final = 4
_PING: Final = 6
_WINDOW_UPDATE: Final = 8
_CONTINUATION: Final = 9

_END_STREAM: Final = 1
_ACK: Final = 1
_END_HEADERS: Final = 4

_MOST_CONTINUATIONS: Final = 8
"""What libnghttp2 takes, too; a block of 60 KiB has four."""

_MOST_OURS: Final = 1000
_MOST_SKIPPED: Final = 16
"""Streams, and gaps between them, that are remembered."""


class FrameGuard:
    """Watches what one peer sends. `scan` says how many bytes are fit for the engine."""

    __slots__ = (
        "_block",
        "_continuations",
        "_empty",
        "_head",
        "_headers_limit",
        "_highest",
        "_left",
        "_open",
        "_options",
        "_others",
        "_ours",
        "_priorities",
        "_server",
        "_skipped",
        "_window_updates",
        "code",
        "in_block",
        "replies",
        "resets",
        "streams",
        "violation",
    )

    def __init__(self, options: H2Options, headers_kb: int, *, server: bool) -> None:
        self._options = options
        self._headers_limit = headers_kb * 1024
        self._server = server
        self._left = _PREFACE if server else 0  # bytes of what has been judged
        self._head = b""  # of a frame, as far as it is here
        self.in_block = False
        """A header block has begun and not ended."""
        self._block = 0
        self._continuations = 0
        self._empty = 0
        self._priorities = 0
        self._others = 0
        self._window_updates = 0
        self.replies = 0
        """Answers that may still wait for the peer to read them."""
        self.resets = 0
        """RST_STREAM frames that came, until they are counted."""
        self.streams = 0
        """Those that the peer has begun."""
        self._highest = 0
        self._open: set[int] = set()  # streams that the peer has not ended
        self._ours: dict[int, None] = {}  # those of them that we have, lately
        self._skipped: list[tuple[int, int]] = []  # numbers that no stream had
        self.violation = ""
        """Why the connection must end; empty while it need not."""
        self.code = 0
        """The error code to say so with."""

    def scan(self, data: bytes, data_frames: int) -> int:
        """How many bytes of `data` may be given to the engine: all, unless there is a violation in it. `data_frames`
        is how many DATA frames were sent so far."""
        size = len(data)
        at = self._left
        if at >= size:
            self._left = at - size
            return size
        while at < size:
            if self._head:
                need = _HEAD - len(self._head)
                if size - at < need:
                    self._head += data[at:]
                    return size
                head = self._head + data[at : at + need]
                self._head = b""
                start = at + need
            else:
                if size - at < _HEAD:
                    self._head = data[at:]
                    self._left = 0
                    return size
                head = data[at : at + _HEAD]
                start = at + _HEAD
            length = head[0] << 16 | head[1] << 8 | head[2]
            kind = head[3]
            stream = (head[5] & 0x7F) << 24 | head[6] << 16 | head[7] << 8 | head[8]
            if not self._judge(kind, head[4], length, stream, data_frames):
                return at
            at = start + length
        self._left = at - size
        return size

    def all_read(self) -> None:
        """The peer has read everything that we said, so no answer waits."""
        self.replies = 0

    def asked(self) -> None:
        """We have sent a PING, so there will be an answer to it."""
        self._others -= 1

    def reset_sent(self) -> None:
        """The peer made us reset a stream."""
        self._reply()

    def gone(self, stream: int) -> None:
        """A stream is over. If it was we who ended it, what the peer has still sent is no fault."""
        if stream in self._open:
            self._open.discard(stream)
            self._ours[stream] = None
            if len(self._ours) > _MOST_OURS:
                del self._ours[next(iter(self._ours))]

    def _judge(self, kind: int, flags: int, length: int, stream: int, data_frames: int) -> bool:
        if kind == _DATA:
            if self._server and not self._on_open(stream, flags):
                return False
            return self._empty_frame(length, flags & _END_STREAM)
        if kind == _HEADERS:
            return self._on_headers(flags, length, stream)
        if kind == _CONTINUATION:
            return self._on_continuation(flags, length)
        if kind == _WINDOW_UPDATE:
            self._window_updates += 1
            if self._window_updates > 5 + 2 * (self.streams + self._options.max_window_updates * data_frames):
                return self._refuse("too many WINDOW_UPDATE frames", ENHANCE_YOUR_CALM)
        elif kind == _PRIORITY:
            self._priorities += 1
            if self._priorities > self._options.max_priority_frames * (1 + self.streams):
                return self._refuse("too many PRIORITY frames", ENHANCE_YOUR_CALM)
        elif kind in (_PING, _SETTINGS) and not flags & _ACK:
            return self._reply()
        elif not self._seldom():
            return False
        elif kind == _RST_STREAM:
            if length != 4:
                return self._refuse("a RST_STREAM frame of another size than 4", FRAME_SIZE_ERROR)
            if stream > self._highest and self._server:
                return self._refuse("a RST_STREAM frame for a stream that was never opened", PROTOCOL_ERROR)
            self.resets += 1
            self._open.discard(stream)
            self._ours.pop(stream, None)
        return True

    def _on_headers(self, flags: int, length: int, stream: int) -> bool:
        if not self._empty_frame(length, flags & _END_STREAM):
            return False
        self.in_block = not flags & _END_HEADERS
        self._block = length
        self._continuations = 0
        if not self._server:
            self.streams = max(self.streams, (stream + 1) >> 1)
            return True
        if stream <= self._highest:
            if stream in self._ours and not flags & _END_STREAM:
                return self._refuse("trailers that end nothing", PROTOCOL_ERROR)
            return self._on_open(stream, flags)
        if stream > self._highest + 2 and stream & 1:
            self._skipped.append((self._highest + 1, stream - 1))
            del self._skipped[:-_MOST_SKIPPED]
        self._highest = stream
        self.streams += 1
        if not flags & _END_STREAM:
            self._open.add(stream)
        return True

    def _on_open(self, stream: int, flags: int) -> bool:
        """Whether a frame belongs to a stream that the peer has begun and not ended."""
        if stream in self._open:
            if flags & _END_STREAM:
                self._open.discard(stream)
            return True
        if stream in self._ours:
            if flags & _END_STREAM:
                del self._ours[stream]
            return True
        if not 0 < stream <= self._highest or not stream & 1:
            return True  # the engine knows better
        for first, last in self._skipped:
            if first <= stream <= last:
                return self._refuse("a stream with a lower number than one before it", PROTOCOL_ERROR)
        return self._refuse("a frame for a stream that its sender had closed", STREAM_CLOSED)

    def _on_continuation(self, flags: int, length: int) -> bool:
        """Before anything of the block is decoded, and whether or not it ever ends."""
        if not self._empty_frame(length, flags & _END_HEADERS):
            return False
        self._block += length
        self._continuations += 1
        if self._continuations > _MOST_CONTINUATIONS or self._block > self._headers_limit:
            return self._refuse("a header block that is too large", ENHANCE_YOUR_CALM)
        if flags & _END_HEADERS:
            self.in_block = False
        return True

    def _empty_frame(self, length: int, ends: int) -> bool:
        if length or ends:
            self._empty = 0
            return True
        self._empty += 1
        if self._empty > self._options.max_empty_frames:
            return self._refuse("too many frames without payload", ENHANCE_YOUR_CALM)
        return True

    def _seldom(self) -> bool:
        """Frames of which a peer has few for a stream or none, as many as of PRIORITY: answers, resets, GOAWAY, and of
        kinds that we do not know, which are ignored (RFC 9113 5.5) but cost their reading."""
        self._others += 1
        if self._others > self._options.max_priority_frames * (1 + self.streams):
            return self._refuse("too many frames that mean nothing", ENHANCE_YOUR_CALM)
        return True

    def _reply(self) -> bool:
        self.replies += 1
        if self.replies > self._options.max_control_frames:
            return self._refuse("too many frames that have to be answered", ENHANCE_YOUR_CALM)
        return True

    def _refuse(self, why: str, code: int) -> bool:
        self.violation = why
        self.code = code
        return False
