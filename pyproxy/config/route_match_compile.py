"""Compiles what a route matches: protobuf -> `config.route.RouteMatch`. Envoy: envoy.config.route.v3.RouteMatch."""

from __future__ import annotations

from typing import Final

from pyproxy.config.matcher_compile import (
    compile_header_match,
    compile_query_match,
    compile_regex_text,
    compile_runtime_fraction,
)
from pyproxy.config.route import PathKind, RouteMatch
from pyproxy.config.uri_template import BadTemplate, check_template
from pyproxy.config.view import View

TEMPLATE_MATCH: Final = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"

_TEXT_KINDS: Final = {
    "prefix": PathKind.PREFIX,
    "path": PathKind.EXACT,
    "path_separated_prefix": PathKind.SEPARATED_PREFIX,
}
_CONDITIONS_WE_LACK: Final = {
    "tls_context": "matching on the client's certificate",
    "dynamic_metadata": "matching on dynamic metadata",
    "filter_state": "matching on filter state",
}


def compile_route_match(view: View) -> RouteMatch:
    """A `RouteMatch`."""
    for name, what in _CONDITIONS_WE_LACK.items():
        if getattr(view.message, name) and (name != "tls_context" or view.has(name)):
            view.fail(name, f"{what} is not supported yet", expected="headers, query_parameters or runtime_fraction")
    kind, path = _path(view)
    sensitive = view.wrapped("case_sensitive")
    fraction = view.child("runtime_fraction")
    return RouteMatch(
        kind=kind,
        path=path,
        case_sensitive=sensitive is None or bool(sensitive),
        headers=view.each("headers", compile_header_match),
        query=view.each("query_parameters", compile_query_match),
        fraction=None if fraction is None else compile_runtime_fraction(fraction),
        grpc_only=view.child("grpc") is not None,
    )


def _path(view: View) -> tuple[PathKind, str]:
    kind = view.oneof("path_specifier")
    if kind is not None and kind in _TEXT_KINDS:
        return _TEXT_KINDS[kind], view.text(kind)
    match kind:
        case "safe_regex":
            return PathKind.REGEX, compile_regex_text(view.need(kind))
        case "connect_matcher":
            view.need(kind)
            return PathKind.CONNECT, ""
        case "path_match_policy":
            return PathKind.TEMPLATE, _template(view.need(kind))
        case _:
            view.fail("", "says no path", expected=f"{', '.join(_TEXT_KINDS)}, safe_regex or path_match_policy")


def _template(view: View) -> str:
    view.ignore("name")  # extensions are chosen by type
    typed = view.any("typed_config")
    if typed is None or typed.type_name != TEMPLATE_MATCH:
        found = typed.type_name if typed is not None else "nothing"
        view.fail("typed_config", f"{found} is not a path matcher that is supported", expected=TEMPLATE_MATCH)
    text = typed.text("path_template")
    try:
        check_template(text)
    except BadTemplate as error:
        typed.fail("path_template", f"{text!r} is not a template: {error}")
    return text
