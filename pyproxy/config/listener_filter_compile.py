"""Compiles the listener filters of a listener, with the one that `use_original_dst` stands for."""

from __future__ import annotations

from typing import Final

from pyproxy.config.descriptors import message_class
from pyproxy.config.extensions import Category, CompileContext, compile_extension, compile_filter
from pyproxy.config.listener import FilterConfig
from pyproxy.config.view import View

_ORIGINAL_DST: Final = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"


def compile_listener_filters(view: View, context: CompileContext) -> tuple[FilterConfig, ...]:
    """In their order. Server names match nothing without a tls_inspector, as in Envoy."""
    found: list[FilterConfig] = []
    for entry in view.children("listener_filters"):
        with view.report.isolate():
            if entry.has("filter_disabled"):
                entry.fail("filter_disabled", "conditions for listener filters are not supported yet")
            one = compile_filter(entry, context, Category.LISTENER_FILTER)
            if one is not None:
                found.append(one[0])
    if not view.wrapped("use_original_dst") or any(one.type_name == _ORIGINAL_DST for one in found):
        return tuple(found)
    typed = View(message_class(_ORIGINAL_DST)(), view.path, view.report)
    return compile_extension(_ORIGINAL_DST, typed, context, Category.LISTENER_FILTER), *found
