"""set_filter_state: facts about a connection that others go by, worked out when it begins.

A network filter. Envoy: envoy.filters.network.set_filter_state. Security posture: a value may be what a downstream
said, so where it chooses a cluster or an upstream, that downstream chooses.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy import clock
from pyproxy.config.extensions import CompileContext
from pyproxy.config.filter_state import SharedState
from pyproxy.config.format import Format, JsonFormat
from pyproxy.config.format_compile import compile_substitution
from pyproxy.config.view import View
from pyproxy.filters.common.connection_state import KINDS, apply_state, share_state
from pyproxy.filters.common.network_filter import STAYS, Leave
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.runtime import Runtime
from pyproxy.telemetry.formatter import build_formatter


@dataclass(frozen=True, slots=True)
class StateValue:
    """One object of the filter state; `kind` is the key that says what it is for."""

    key: str
    kind: str
    value: Format
    skip_if_empty: bool = False
    shared: str = "NONE"
    """With connections to internal listeners: NONE, ONCE or TRANSITIVE."""


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


def compile_state_value(view: View) -> StateValue:
    """A `FilterStateValue`."""
    view.ignore("read_only")  # nobody changes it later
    key, kind = view.text("object_key"), view.text("factory_key")
    kind = kind or key
    if kind not in KINDS:
        field = "factory_key" if view.text("factory_key") else "object_key"
        view.fail_unknown(field, "kind of object", kind, KINDS)
    fmt = compile_substitution(view.need("format_string"))
    if isinstance(fmt, JsonFormat):
        view.fail("format_string", "is JSON, which no object is made from", expected="text_format_source")
    return StateValue(key, kind, fmt, bool(view.scalar("skip_if_empty")), view.enum("shared_with_upstream"))


class SetFilterState:
    """Shared by all connections of a chain."""

    def __init__(self, config: SetFilterStateConfig) -> None:
        self._values = [(one, build_formatter(one.value)) for one in config.values]

    def admit(self, info: ConnectionInfo) -> Leave | None:
        request = Request(b"", b"", b"", Headers(), StreamInfo(clock.now, clock.now + clock.wall_offset, info))
        for one, value_of in self._values:
            value = value_of(request, None)
            if not value and one.skip_if_empty:
                continue
            if apply_state(info, one.key, one.kind, value) and one.shared != "NONE":
                share_state(info, SharedState(one.key, one.kind, value, one.shared == "TRANSITIVE"))
        return STAYS
