"""Compiles header changes: protobuf -> `config.headers` values."""

from __future__ import annotations

import re
from typing import Final

from pyproxy.config.format import parse_header_format
from pyproxy.config.format_compile import parsed
from pyproxy.config.headers import NO_CHANGES, AppendAction, HeaderAdd, HeaderChanges
from pyproxy.config.view import View

# RFC 9110 5.6.2. Envoy would send any other name as it is, and every upstream would refuse the request.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_FIELDS: Final = (
    "request_headers_to_add",
    "request_headers_to_remove",
    "response_headers_to_add",
    "response_headers_to_remove",
)


def compile_header_changes(view: View) -> HeaderChanges:
    """The four lists that a route table, virtual host, route or weighted cluster may have."""
    message = view.message
    if not any(getattr(message, field) for field in _FIELDS):
        return NO_CHANGES
    return HeaderChanges(
        request_add=view.each("request_headers_to_add", compile_header_add),
        request_remove=_removals(view, "request_headers_to_remove"),
        response_add=view.each("response_headers_to_add", compile_header_add),
        response_remove=_removals(view, "response_headers_to_remove"),
    )


def compile_header_add(view: View) -> HeaderAdd:
    """A `HeaderValueOption`."""
    header = view.need("header")
    name = header.text("key").lower()
    if _is_routing(name):
        header.fail("key", f"the header {name!r} may not be changed: it decides where the request goes")
    if _TOKEN.fullmatch(name) is None:
        header.fail("key", f"{name!r} is not a header name", expected="letters, digits and !#$%&'*+-.^_`|~")
    raw: bytes = header.scalar("raw_value")
    text = header.text("value")
    field = "raw_value" if raw else "value"
    value = parsed(header, field, lambda: parse_header_format(raw.decode("utf-8", "surrogateescape") if raw else text))
    return HeaderAdd(name.encode(), value, _action(view), bool(view.scalar("keep_empty_value")))


def _action(view: View) -> AppendAction:
    chosen = view.enum("append_action")
    if chosen not in AppendAction.__members__:
        view.fail("append_action", f"unknown value {chosen}", expected=f"one of {', '.join(AppendAction.__members__)}")
    action = AppendAction[chosen]
    append = view.wrapped("append")
    if append is None:
        return action
    if action is not AppendAction.APPEND_IF_EXISTS_OR_ADD:
        view.fail("append", "is set, and append_action too", expected="append_action alone")
    return action if append else AppendAction.OVERWRITE_IF_EXISTS_OR_ADD


def _removals(view: View, field: str) -> tuple[bytes, ...]:
    names = tuple(str(name).lower() for name in view.scalars(field))
    for name in names:
        if _is_routing(name):
            view.fail(field, f"the header {name!r} may not be removed: it decides where the request goes")
    return tuple(name.encode() for name in names)


def _is_routing(name: str) -> bool:
    return name.startswith(":") or name == "host"
