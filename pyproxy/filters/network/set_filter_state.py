"""set_filter_state: facts about a connection that others go by, worked out when it begins.

A network filter. Envoy: envoy.filters.network.set_filter_state. Security posture: a value may be what a downstream
said, so where it chooses a cluster or an upstream, that downstream chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pyproxy import clock
from pyproxy.config.extensions import CompileContext
from pyproxy.config.format import Format, JsonFormat
from pyproxy.config.format_compile import compile_substitution
from pyproxy.config.view import View
from pyproxy.filters.common.network_filter import STAYS, Leave
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.runtime import Runtime
from pyproxy.telemetry.formatter import build_formatter

_STRING: Final = "envoy.string"


@dataclass(frozen=True, slots=True)
class StateValue:
    """One object of the filter state; `kind` is the key that says what it is for."""

    key: str
    kind: str
    value: Format
    skip_if_empty: bool = False


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
    view.ignore("read_only", "shared_with_upstream")  # nobody changes it later, and there are no filters upstream
    key, kind = view.text("object_key"), view.text("factory_key")
    kind = kind or key
    if kind != _STRING and kind not in _EFFECTS:
        field = "factory_key" if view.text("factory_key") else "object_key"
        view.fail_unknown(field, "kind of object", kind, (_STRING, *_EFFECTS))
    fmt = compile_substitution(view.need("format_string"))
    if isinstance(fmt, JsonFormat):
        view.fail("format_string", "is JSON, which no object is made from", expected="text_format_source")
    return StateValue(key, kind, fmt, bool(view.scalar("skip_if_empty")))


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
            effect = _EFFECTS.get(one.kind)
            if effect is not None and not effect(info, value):
                continue
            if info.filter_state is None:
                info.filter_state = {}
            info.filter_state[one.key] = value
        return STAYS


def _choose_cluster(info: ConnectionInfo, value: str) -> bool:
    info.tcp_cluster = value
    return True


def _name_upstream(info: ConnectionInfo, value: str) -> bool:
    info.upstream_server_name = value
    info.wants_more = True
    return True


def _check_upstream(info: ConnectionInfo, value: str) -> bool:
    info.upstream_sans = tuple(value.split(","))
    info.wants_more = True
    return True


def _send_to(info: ConnectionInfo, value: str) -> bool:
    """Whether it is an address and a port."""
    host, _, port = value.rpartition(":")
    if not port.isdigit() or int(port) > 65535 or not host:
        return False
    info.original_destination = (host.strip("[]"), int(port))
    return True


_EFFECTS: Final[dict[str, Callable[[ConnectionInfo, str], bool]]] = {
    "envoy.tcp_proxy.cluster": _choose_cluster,
    "envoy.network.upstream_server_name": _name_upstream,
    "envoy.network.upstream_subject_alt_names": _check_upstream,
    "envoy.network.transport_socket.original_dst_address": _send_to,
}
