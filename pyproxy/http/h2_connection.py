"""A connection that speaks HTTP/2, from either end: bytes to the session, and what the session has to say to the peer.

What is said in a turn of the loop goes out at its end, for all streams in one write. While the peer does not read,
nothing is taken from the session, so that bodies wait there and hold their sources.
"""

from __future__ import annotations

from typing import Any, Final

from pyproxy.http.h2_counts import H2Counts
from pyproxy.http.h2_guard import FrameGuard
from pyproxy.http.h2_session import NO_ERROR, Event
from pyproxy.network.connection import Connection
from pyproxy.network.cork import Cork

_MANY_STREAMS: Final = 64
"""Begun at once; then what came with them is taken little by little."""
_LITTLE: Final = 4096


class H2Connection(Connection):
    """Subclasses say what events and the ends of streams mean."""

    __slots__ = ("bytes_received", "bytes_sent", "counts", "guard", "session")

    def __init__(self, cork: Cork, session: Any, guard: FrameGuard, counts: H2Counts) -> None:
        super().__init__(cork)
        self.counts = counts
        self.session = session
        self.guard = guard
        self.bytes_received = 0
        self.bytes_sent = 0

    # Hooks of subclasses

    def on_events(self, events: list[Event]) -> None:
        raise NotImplementedError

    def on_streams_closed(self, closed: list[tuple[int, int]]) -> None:
        """(stream, error code) of each."""
        raise NotImplementedError

    def on_streams_sent(self, sent: list[int]) -> None:
        """Our end of these is over, and went out."""

    def on_drained(self, streams: list[int]) -> None:
        """These may send again."""
        raise NotImplementedError

    def on_violation(self) -> None:
        """The peer does something too often: the connection has been told to end."""

    def on_finished(self) -> None:
        """Everything was said, by both ends."""
        raise NotImplementedError

    # The life of the connection

    def on_bytes(self, data: bytes) -> None:
        session, guard = self.session, self.guard
        self.bytes_received += len(data)
        if guard.violation:
            return
        before = guard.streams
        fit = guard.scan(data, session.data_frames)
        if fit < len(data):
            data = data[:fit]
        if guard.streams > before + _MANY_STREAMS:
            self._take_slowly(data)
        else:
            self._take(data)
        if guard.resets:
            self.counts.rx_reset += guard.resets
            guard.resets = 0
        if guard.violation:
            self.end_violation()
        self.mark()

    def _take(self, data: bytes) -> None:
        events: list[Event] = self.session.receive(data)
        if events:
            self.on_events(events)
        self.take_note()

    def _take_slowly(self, data: bytes) -> None:
        """Little by little: the beginning of it may be reason enough to end the connection."""
        for at in range(0, len(data), _LITTLE):
            if self.closed or self.ended:
                return
            self._take(data[at : at + _LITTLE])

    @property
    def ended(self) -> bool:
        """Nothing is read any more."""
        return False

    def end_violation(self) -> None:
        self.counts.flood(self.guard.violation)
        self.session.terminate(self.guard.code)
        self.on_violation()
        self.mark()

    def take_note(self) -> None:
        """Of what has happened in the session beside what it has told."""
        session = self.session
        if session.sent:
            sent, session.sent = session.sent, []
            self.on_streams_sent(sent)
        if session.closed:
            closed, session.closed = session.closed, []
            self.on_streams_closed(closed)
        if session.drained:
            drained, session.drained = session.drained, []
            self.on_drained(drained)

    def mark(self) -> None:
        """The session has something to say."""
        if not self._dirty and not self.closed:
            self._dirty = True
            self._cork.add_late(self)

    def flush(self) -> None:
        self._dirty = False
        if self.closed or self.transport is None:
            return
        session = self.session
        guard = self.guard
        if guard.replies and not self.unsent():
            guard.all_read()
        while not self.write_blocked:
            data: bytes = session.pull()
            if not data:
                break
            self.bytes_sent += len(data)
            self.transport.write(data)
            if session.drained or session.sent or session.closed:
                self.take_note()
            if self.closed:
                return
        self.take_note()
        if session.finished and not self.closed:
            self.on_finished()

    def on_writable(self, writable: bool) -> None:
        if writable:
            self.mark()

    def close(self) -> None:
        """Close after what was said so far, and a last word."""
        if self.closed:
            return
        self.session.terminate(NO_ERROR)
        self.mark()
        self._close_now()

    def _close_now(self) -> None:
        if not self.closed and self.transport is not None:
            data: bytes = self.session.pull()
            while data:
                self.bytes_sent += len(data)
                self.transport.write(data)
                data = self.session.pull()
            self.closed = True
            self.transport.close()
