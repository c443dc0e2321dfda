"""The chain of HTTP filters of one connection manager, as one callable.

Filters may ask for more than a request and what comes after them:

- `sees_replies = True`: what goes wrong behind the filter comes to it as the local reply that it becomes, not as a
  ProxyError (Envoy: encodeHeaders sees local replies). Without it a filter costs such a reply nothing.
- `bind(manager)`: called once, with the connection manager; for filters that answer themselves as it does.
- `name`: set to what routes call the filter, where its configuration for routes is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from pyproxy.config.discovered import DiscoveredConfig
from pyproxy.config.listener import FilterConfig
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.message import Request, Response
from pyproxy.runtime import Runtime

if TYPE_CHECKING:
    from pyproxy.filters.network.http_connection_manager.manager import HttpConnectionManager

Handler = Callable[[Request], Awaitable[Response]]


def build_chain(filters: tuple[FilterConfig, ...], manager: HttpConnectionManager, runtime: Runtime) -> Handler:
    """The last filter answers; each of the others may."""
    *others, last = filters
    handler = _through(last, None, manager, runtime)
    for one in reversed(others):
        handler = _Switch(one, _through(one, handler, manager, runtime), handler)
    return handler


def _through(config: FilterConfig, behind: Handler | None, manager: HttpConnectionManager, runtime: Runtime) -> Handler:
    """One filter with what is behind it, None for the last."""
    if isinstance(config.config, DiscoveredConfig):
        return _Discovered(config.config, behind, manager, runtime)
    live: Any = config.config.build(runtime)
    if hasattr(live, "bind"):
        live.bind(manager)
    if hasattr(live, "name"):
        live.name = config.name
    if behind is None:
        last: Handler = live
        return last
    return partial(live, next=_Replies(manager, behind) if getattr(live, "sees_replies", False) else behind)


async def _answer_nothing(request: Request) -> Response:
    """Where there is no configuration, and no default."""
    del request
    raise ProxyError(ResponseFlag.NO_FILTER_CONFIG_FOUND, Source.LOCAL, 500, "filter_config_not_available")


class _Discovered:
    """A filter of which the configuration comes while we run. Requests go on with the one that they began with."""

    def __init__(
        self, config: DiscoveredConfig, behind: Handler | None, manager: HttpConnectionManager, runtime: Runtime
    ) -> None:
        self._config = config
        self._behind = behind
        self._manager = manager
        self._runtime = runtime
        self._handler: Handler | None = None
        self._observer: Any = None
        manager.closers.append(runtime.filters.watch(config.slot, self._on_config))

    def __call__(self, request: Request) -> Awaitable[Response]:
        return (self._handler or _answer_nothing)(request)

    def _on_config(self, found: FilterConfig | None) -> None:
        made = found if found is not None and found.type_name in self._config.types else self._config.default
        observers = self._manager.observers
        if self._observer is not None:
            observers.remove(self._observer)
            self._observer = None
        self._handler = None
        if made is not None:
            self._handler = _through(made, self._behind, self._manager, self._runtime)
            if hasattr(made.config, "observe"):
                self._observer = made.config.observe(self._runtime)
                observers.append(self._observer)


class _Switch:
    """Leaves a filter out where the route says so, or where it is disabled and the route does not say otherwise."""

    __slots__ = ("_disabled", "_name", "_through", "_without")

    def __init__(self, config: FilterConfig, through: Handler, without: Handler) -> None:
        self._name = config.name
        self._disabled = config.disabled
        self._through = through
        self._without = without

    def __call__(self, request: Request) -> Awaitable[Response]:
        disabled, route = self._disabled, request.route
        if route is not None and route.filter_configs:
            override = route.filter_configs.get(self._name)
            if override is not None:
                disabled = override.disabled
        return (self._without if disabled else self._through)(request)


class _Replies:
    """Makes the local reply for what goes wrong behind it. A reset, which has none, stays an error."""

    __slots__ = ("_behind", "_manager")

    def __init__(self, manager: HttpConnectionManager, behind: Handler) -> None:
        self._manager = manager
        self._behind = behind

    async def __call__(self, request: Request) -> Response:
        try:
            response = await self._behind(request)
        except ProxyError as error:
            if not error.status:
                raise
            return self._manager.reply(request, error)
        info = request.info
        if info.details == "direct_response" and not info.shaped:
            response = self._manager.shape_direct(request, response)
        return response
