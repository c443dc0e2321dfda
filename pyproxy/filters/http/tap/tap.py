"""The tap filter in the chain. A request that nobody wants recorded costs it one look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from pyproxy import clock
from pyproxy.config.tap import FileSink, TapConfig
from pyproxy.filters.http.tap.files import TapFiles
from pyproxy.filters.http.tap.matcher import TapMatcher
from pyproxy.filters.http.tap.session import TapSession
from pyproxy.http.message import Request, Response
from pyproxy.runtime import Runtime
from pyproxy.telemetry.metrics import Counter

if TYPE_CHECKING:
    from pyproxy.filters.http.tap.config import TapFilterConfig
    from pyproxy.filters.network.http_connection_manager.manager import HttpConnectionManager

Next = Callable[[Request], Awaitable[Response]]
STATE: Final = "envoy.filters.http.tap"
"""Where a request has its sessions."""


class Tap:
    """Shared by all requests of a chain."""

    sees_replies = True

    def __init__(self, config: TapFilterConfig, runtime: Runtime) -> None:
        self.config = config
        self._values = runtime.values
        self._taps = runtime.exports.taps
        self._slot = self._taps.slot(config.config_id) if config.config_id else None
        self._files = TapFiles(runtime.loop)
        self._built: tuple[TapConfig, TapMatcher] | None = None
        self._tapped = self._left_out = Counter("")

    def bind(self, manager: HttpConnectionManager) -> None:
        """Count for the connection manager."""
        self._tapped = manager.stats.scope.counter("tap.rq_tapped")
        self._left_out = manager.stats.scope.counter("tap.rq_sampled_out")

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002 (the name that every filter has)
        tap = self.config.tap if self._slot is None else self._slot.config
        if tap is None or not self._wanted(tap):
            return await next(request)
        session = TapSession(self.config, tap, self._matcher(tap), self._submit, request)
        info = request.info
        if info.filter_state is None:
            info.filter_state = {}
        info.filter_state.setdefault(STATE, []).append(session)
        if request.body is not None:
            request.body = session.watch_request(request.body)
        response = await next(request)
        session.on_response(response)
        if response.body is not None:
            response.body = session.watch_response(response.body)
        return response

    def _wanted(self, tap: TapConfig) -> bool:
        share = tap.enabled
        if share is None:
            return True
        if clock.rng.random() < self._values.share(share):
            return True
        self._left_out.value += 1
        return False

    def _matcher(self, tap: TapConfig) -> TapMatcher:
        built = self._built
        if built is None or built[0] is not tap:
            built = self._built = tap, TapMatcher(tap.rule)
        return built[1]

    def _submit(self, tap: TapConfig, trace: dict[str, object], *, first: bool) -> None:
        """A trace, or a segment of one; `first` of its exchange."""
        if first:
            self._tapped.value += 1
        if isinstance(tap.sink, FileSink):
            self._files.write(tap, tap.sink, trace)
        else:
            self._taps.offer(self.config.config_id, trace)
