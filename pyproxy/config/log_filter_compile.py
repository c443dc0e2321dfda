"""Compiles which requests are logged: protobuf -> the filters in `config.access_log`.

Envoy: envoy.config.accesslog.v3.AccessLogFilter. Local replies choose by the same filters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyproxy.config.access_log import (
    AndFilter,
    CelFilter,
    Comparison,
    DurationFilter,
    HeaderFilter,
    LogFilter,
    LogTypeFilter,
    NotHealthCheckFilter,
    OrFilter,
    ResponseFlagFilter,
    RuntimeFilter,
    StatusFilter,
)
from pyproxy.config.cel import BadCel, compile_cel
from pyproxy.config.enums import compile_enum
from pyproxy.config.matcher_compile import compile_header_match, compile_percent
from pyproxy.config.matchers import Fraction
from pyproxy.config.view import View
from pyproxy.errors import ResponseFlag

_CEL: Final = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
_FLAGS: Final = frozenset(flag.short for flag in ResponseFlag)


def compile_log_filter(view: View) -> LogFilter:
    """An `AccessLogFilter`."""
    kind = view.oneof("filter_specifier")
    compile_one = _FILTERS.get(kind or "")
    if kind is None or compile_one is None:
        what = f"{kind} is not supported yet" if kind else "chooses nothing"
        view.fail(kind or "", what, expected=f"one of {', '.join(_FILTERS)}")
    return compile_one(view.need(kind))


def _comparison(view: View) -> tuple[Comparison, int, str]:
    comparison = view.need("comparison")
    value = comparison.need("value")
    return compile_enum(comparison, "op", Comparison), value.scalar("default_value"), value.text("runtime_key")


def _status(view: View) -> StatusFilter:
    return StatusFilter(*_comparison(view))


def _duration(view: View) -> DurationFilter:
    return DurationFilter(*_comparison(view))


def _not_health_check(_: View) -> NotHealthCheckFilter:
    return NotHealthCheckFilter()


def _runtime(view: View) -> RuntimeFilter:
    key = view.text("runtime_key")
    percent = view.child("percent_sampled")
    # Without a default nothing is logged until the runtime says so.
    fraction = Fraction(0, 100, key) if percent is None else compile_percent(percent, key)
    return RuntimeFilter(fraction, bool(view.scalar("use_independent_randomness")))


def _and(view: View) -> AndFilter:
    return AndFilter(view.each("filters", compile_log_filter))


def _or(view: View) -> OrFilter:
    return OrFilter(view.each("filters", compile_log_filter))


def _header(view: View) -> HeaderFilter:
    return HeaderFilter(compile_header_match(view.need("header")))


def _response_flags(view: View) -> ResponseFlagFilter:
    flags = frozenset(map(str, view.scalars("flags")))
    for flag in flags - _FLAGS:
        view.fail_unknown("flags", "response flag", flag, _FLAGS)
    return ResponseFlagFilter(flags)


def _log_type(view: View) -> LogTypeFilter:
    return LogTypeFilter(frozenset(view.enums("types")), bool(view.scalar("exclude")))


def _extension(view: View) -> CelFilter:
    view.ignore("name")
    config = view.any("typed_config")
    if config is None or config.type_name != _CEL:
        what = "" if config is None else config.type_name
        view.fail("typed_config", f"the filter {what} is not supported", expected=_CEL)
    expression = config.text("expression")
    try:
        compile_cel(expression)
    except BadCel as error:
        config.fail("expression", str(error), expected=error.expected)
    return CelFilter(expression)


_FILTERS: Final[dict[str, Callable[[View], LogFilter]]] = {
    "status_code_filter": _status,
    "duration_filter": _duration,
    "not_health_check_filter": _not_health_check,
    "runtime_filter": _runtime,
    "and_filter": _and,
    "or_filter": _or,
    "header_filter": _header,
    "response_flag_filter": _response_flags,
    "log_type_filter": _log_type,
    "extension_filter": _extension,
}
