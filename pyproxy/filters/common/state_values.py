"""Values that are worked out and become filter state (envoy.extensions.filters.common.set_filter_state.v3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyproxy.config.filter_state import SharedState
from pyproxy.config.format import Format, JsonFormat
from pyproxy.config.format_compile import compile_substitution
from pyproxy.config.view import View
from pyproxy.filters.common.connection_state import KINDS, apply_state, share_state
from pyproxy.http.message import Request
from pyproxy.http.stream_info import ConnectionInfo
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


class StateValues:
    """Those of one filter."""

    def __init__(self, values: Iterable[StateValue]) -> None:
        self._values = [(one, build_formatter(one.value)) for one in values]

    def apply(self, request: Request, info: ConnectionInfo) -> None:
        """Work them out for a request, or for the empty one of a connection, and let the connection have them."""
        for one, value_of in self._values:
            value = value_of(request, None)
            if not value and one.skip_if_empty:
                continue
            if apply_state(info, one.key, one.kind, value) and one.shared != "NONE":
                share_state(info, SharedState(one.key, one.kind, value, one.shared == "TRANSITIVE"))
