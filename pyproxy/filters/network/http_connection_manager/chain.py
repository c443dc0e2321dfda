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

from pyproxy.config.listener import FilterConfig
from pyproxy.errors import ProxyError
from pyproxy.http.message import Request, Response
from pyproxy.runtime import Runtime

if TYPE_CHECKING:
    from pyproxy.filters.network.http_connection_manager.manager import HttpConnectionManager

Handler = Callable[[Request], Awaitable[Response]]


def build_chain(filters: tuple[FilterConfig, ...], manager: HttpConnectionManager, runtime: Runtime) -> Handler:
    """The last filter answers; each of the others may."""
    *others, last = filters
    terminal: Any = last.config.build(runtime)
    if hasattr(terminal, "bind"):
        terminal.bind(manager)
    handler: Handler = terminal
    for one in reversed(others):
        live: Any = one.config.build(runtime)
        if hasattr(live, "bind"):
            live.bind(manager)
        if hasattr(live, "name"):
            live.name = one.name
        behind = _Replies(manager, handler) if getattr(live, "sees_replies", False) else handler
        handler = _Switch(one, partial(live, next=behind), handler)
    return handler


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
