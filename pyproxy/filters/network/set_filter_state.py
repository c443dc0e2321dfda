"""set_filter_state: facts about a connection that others go by, worked out when it begins.

A network filter. Envoy: envoy.filters.network.set_filter_state. Security posture: a value may be what a downstream
said, so where it chooses a cluster or an upstream, that downstream chooses.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy import clock
from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.network_filter import STAYS, Leave
from pyproxy.filters.common.state_values import StateValue, StateValues, compile_state_value
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
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
    return SetFilterStateConfig(view.each("on_new_connection", compile_state_value))


class SetFilterState:
    """Shared by all connections of a chain."""

    def __init__(self, config: SetFilterStateConfig) -> None:
        self._values = StateValues(config.values)

    def admit(self, info: ConnectionInfo) -> Leave | None:
        request = Request(b"", b"", b"", Headers(), StreamInfo(clock.now, clock.now + clock.wall_offset, info))
        self._values.apply(request, info)
        return STAYS
