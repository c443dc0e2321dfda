"""PINGs that find out whether an HTTP/2 peer is still there (envoy.config.core.v3.KeepaliveSettings)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pyproxy import clock
from pyproxy.config.http2 import H2Keepalive

_PAYLOAD = b"pyproxy?"


class Keepalive:
    """Of one connection: `ping` sends one, `dead` is called where no answer comes in time."""

    __slots__ = ("_dead", "_loop", "_options", "_ping", "_timeout", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: H2Keepalive,
        ping: Callable[[bytes], None],
        dead: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._options = options
        self._ping = ping
        self._dead = dead
        self._timer: Any = None
        self._timeout: Any = None
        self._wait()

    def stop(self) -> None:
        for timer in (self._timer, self._timeout):
            if timer is not None:
                timer.cancel()
        self._timer = self._timeout = None

    def answered(self) -> None:
        """The peer is there. (Any answer to a PING of ours will do: there is one at a time.)"""
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
            self._wait()

    def after_silence(self, seconds: float) -> None:
        """A stream begins after the connection had none for so long."""
        idle = self._options.idle_interval
        if idle and seconds > idle and self._timeout is None:
            self._send()

    def _wait(self) -> None:
        options = self._options
        if options.interval:
            seconds = options.interval * (1 + clock.rng.random() * options.jitter / 100)
            self._timer = self._loop.call_later(seconds, self._send)

    def _send(self) -> None:
        clock.tick()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timeout = self._loop.call_later(self._options.timeout, self._too_late)
        self._ping(_PAYLOAD)

    def _too_late(self) -> None:
        clock.tick()
        self._timeout = None
        self._dead()
