"""Compiles access logs: protobuf -> `config.access_log` values. Envoy: envoy.config.accesslog.v3.AccessLog."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pyproxy.config.access_log import AccessLogConfig, SinkKind
from pyproxy.config.collector_log_compile import HTTP, OPEN_TELEMETRY, TCP, compile_collector_log
from pyproxy.config.extensions import CompileContext
from pyproxy.config.format import Format, JsonFormat, parse_format, parse_json_format
from pyproxy.config.format_compile import compile_substitution, parsed
from pyproxy.config.log_filter_compile import compile_log_filter
from pyproxy.config.view import View

DEFAULT_FORMAT_TEXT: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)
"""What Envoy logs where the configuration says nothing."""
DEFAULT_FORMAT: Final = parse_format(DEFAULT_FORMAT_TEXT)

_SINKS: Final = {
    "envoy.extensions.access_loggers.file.v3.FileAccessLog": SinkKind.FILE,
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog": SinkKind.STDOUT,
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog": SinkKind.STDERR,
}
_COLLECTORS: Final = (HTTP, TCP, OPEN_TELEMETRY)


def compile_access_logs(view: View, context: CompileContext | None = None) -> tuple[AccessLogConfig, ...]:
    """`access_log`, a list of `AccessLog`s. Without a context none of them can go to a cluster."""
    return view.each("access_log", lambda one: compile_access_log(one, context))


def compile_access_log(view: View, context: CompileContext | None = None) -> AccessLogConfig:
    """An `AccessLog`."""
    name = view.text("name")
    if not view.has("typed_config"):
        view.fail("typed_config", f"the access logger {name!r} has none, and a name alone chooses nothing")
    typed = view.any("typed_config")
    assert typed is not None
    chosen = view.child("filter")
    wanted = None if chosen is None else compile_log_filter(chosen)
    if context is not None and typed.type_name in _COLLECTORS:
        target, entry = compile_collector_log(typed, context)
        return AccessLogConfig(SinkKind.COLLECTOR, "", DEFAULT_FORMAT, wanted, target, entry)
    sink = _SINKS.get(typed.type_name)
    if sink is None:
        expected = f"one of {', '.join((*_SINKS, *_COLLECTORS))}"
        view.fail(
            "typed_config", f"the access logger {name!r} of type {typed.type_name} is not supported", expected=expected
        )
    return AccessLogConfig(
        sink=sink,
        path=_path(typed) if sink is SinkKind.FILE else "",
        format=_format(typed),
        filter=wanted,
    )


def default_access_log(path: str) -> AccessLogConfig:
    """A log to a file in Envoy's default format."""
    return AccessLogConfig(SinkKind.FILE, path, DEFAULT_FORMAT)


def _path(view: View) -> str:
    """A file that could be opened, so that a mistake shows here and not when the proxy starts."""
    path = view.text("path")
    existing = Path(path) if Path(path).exists() else Path(path).absolute().parent
    if not existing.exists():
        view.fail("path", f"the file {path!r} cannot be opened: there is no directory {existing}")
    if not os.access(existing, os.W_OK):
        view.fail("path", f"the file {path!r} cannot be opened: no permission to write {existing}")
    return path


def _format(view: View) -> Format | JsonFormat:
    kind = view.oneof("access_log_format")
    match kind:
        case "log_format":
            return compile_substitution(view.need(kind))
        case "format":
            text = view.text(kind)
            return parsed(view, kind, lambda: parse_format(text)) if text else DEFAULT_FORMAT
        case "json_format" | "typed_json_format":
            fields = view.struct(kind) or {}
            return parsed(view, kind, lambda: parse_json_format(fields))
        case _:
            return DEFAULT_FORMAT
