"""set_filter_state: facts about a request that others go by, worked out when its head is here.

Envoy: envoy.filters.http.set_filter_state. Security posture: a value may be what a downstream said, so where it chooses
an upstream, that downstream chooses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.state_values import StateValue, StateValues, compile_state_value
from pyproxy.http.message import Request, Response
from pyproxy.runtime import Runtime


@dataclass(frozen=True, slots=True)
class SetFilterStateConfig:
    values: tuple[StateValue, ...]

    def build(self, runtime: Runtime) -> SetFilterState:
        del runtime
        return SetFilterState(self)


def compile(view: View, context: CompileContext) -> SetFilterStateConfig:  # noqa: A001 (the name that every filter has)
    """A `Config`."""
    del context
    return SetFilterStateConfig(view.each("on_request_headers", compile_state_value))


class SetFilterState:
    """Shared by all requests. What it sets is the request's alone, whatever else its connection carries."""

    def __init__(self, config: SetFilterStateConfig) -> None:
        self._values = StateValues(config.values)

    async def __call__(self, request: Request, next: Callable[[Request], Awaitable[Response]]) -> Response:  # noqa: A002
        info = request.info
        before = info.connection
        info.connection = connection = before.seen_as(before.remote)
        if before.filter_state is not None:
            connection.filter_state = dict(before.filter_state)
        self._values.apply(request, connection)
        return await next(request)
