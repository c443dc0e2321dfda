"""Compiles formats: protobuf -> `config.format` values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pyproxy.config.data_source import read_text
from pyproxy.config.format import BadFormat, Format, JsonFormat, parse_format, parse_json_format
from pyproxy.config.view import View

T = TypeVar("T")


def compile_substitution(view: View) -> Format | JsonFormat:
    """A `SubstitutionFormatString`, without its content type."""
    if view.children("formatters"):
        view.fail("formatters", "formatter extensions are not supported yet", expected="the built-in operators only")
    omit_empty = bool(view.scalar("omit_empty_values"))
    options = view.child("json_format_options")
    if options is not None:
        options.ignore("sort_properties")  # they are always sorted (as in Envoy)
    kind = view.oneof("format")
    match kind:
        case "text_format":
            text = view.text(kind)
            return parsed(view, kind, lambda: parse_format(text, omit_empty=omit_empty))
        case "text_format_source":
            source = view.need(kind)
            text = read_text(source)
            return parsed(view, kind, lambda: parse_format(text, omit_empty=omit_empty))
        case "json_format":
            fields = view.struct(kind) or {}
            return parsed(view, kind, lambda: parse_json_format(fields, omit_empty=omit_empty))
        case _:
            view.fail("", "holds no format", expected="text_format_source or json_format")


def parsed(view: View, name: str, parse: Callable[[], T]) -> T:
    """What a parser of formats gives. Raises InvalidConfig for the named field where it gives BadFormat."""
    try:
        return parse()
    except BadFormat as error:
        view.fail(name, str(error), expected=error.expected, nearest=error.nearest)
