"""Takes one direction of a session away from its two transports once it moves much, and gives it back at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pyproxy.network.connection import Connection
from pyproxy.network.splice import Splice, Splices


class Bulk:
    """The source is not read by its transport any more; what the target's transport still holds goes out first.

    At the end of the source its transport reads again, and so meets that end itself.
    """

    __slots__ = ("_count", "_limit", "_over", "_source", "_splice", "_splices", "_target")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        splices: Splices,
        source: Connection,
        target: Connection,
        limit: int,
        count: Callable[[int], None],
    ) -> None:
        """`limit`: bytes that may wait between the two. `count` is told of those that went through."""
        self._splices = splices
        self._source = source
        self._target = target
        self._limit = limit
        self._count = count
        self._splice: Splice | None = None
        self._over = False
        source.pause_reading()
        loop.call_soon(self._proceed)

    @property
    def over(self) -> bool:
        """The transports have it back."""
        return self._over

    def on_target_writable(self) -> None:
        """What was held for the target has gone out."""
        if self._splice is None:
            self._proceed()

    def stop(self) -> None:
        """One of the two is gone."""
        self._over = True
        if self._splice is not None:
            self._splice.stop()

    def _proceed(self) -> None:
        source, target = self._source, self._target
        if self._over or self._splice is not None or source.closed or target.closed:
            return
        if target.unsent():
            target.transport.set_write_buffer_limits(0)  # so that we hear of it when all has gone
            return
        ends = source.socket(), target.socket()
        assert ends[0] is not None
        assert ends[1] is not None
        self._splice = Splice(self._splices, ends[0].fileno(), ends[1].fileno(), self._count, self._ended)
        self._splice.start(self._limit)

    def _ended(self, by_source: bool) -> None:
        self._over = True
        target = self._target
        if not by_source:
            target.abort()
            return
        if not target.closed:
            target.transport.set_write_buffer_limits(target.buffer_limit)
        self._source.resume_reading()


def can_be_taken(splices: Splices, source: Connection, target: Connection) -> bool:
    """Neither is encrypted, and there are not too many already."""
    return not source.encrypted and not target.encrypted and splices.has_room
