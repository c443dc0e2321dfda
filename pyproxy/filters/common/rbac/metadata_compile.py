"""Compiles questions about metadata: protobuf -> `MetadataMatch`."""

from __future__ import annotations

from pyproxy.config.matcher_compile import compile_string_match
from pyproxy.config.view import View
from pyproxy.filters.common.rbac.metadata_match import (
    HasElement,
    IsBool,
    IsNull,
    IsNumber,
    IsPresent,
    IsString,
    MetadataMatch,
    OneOf,
    ValueMatch,
)


def compile_metadata_match(view: View) -> MetadataMatch:
    """A `MetadataMatcher`."""
    return MetadataMatch(
        namespace=view.text("filter"),
        path=view.each("path", lambda segment: segment.text("key")),
        value=compile_value_match(view.need("value")),
        invert=bool(view.scalar("invert")),
    )


def compile_value_match(view: View) -> ValueMatch:
    """A `ValueMatcher`."""
    kind = view.oneof("match_pattern")
    match kind:
        case "null_match":
            view.ignore(kind)  # it holds nothing
            return IsNull()
        case "double_match":
            return _number(view.need(kind))
        case "string_match":
            return IsString(compile_string_match(view.need(kind)))
        case "bool_match":
            return IsBool(bool(view.scalar(kind)))
        case "present_match":
            return IsPresent(bool(view.scalar(kind)))
        case "list_match":
            return HasElement(compile_value_match(view.need(kind).need("one_of")))
        case "or_match":
            return OneOf(view.need(kind).each("value_matchers", compile_value_match))
        case _:
            view.fail("", "says nothing", expected="a match_pattern, such as string_match")


def _number(view: View) -> IsNumber:
    limits = view.child("range")
    if limits is not None:
        return IsNumber(float(limits.scalar("start")), float(limits.scalar("end")))
    return IsNumber(float(view.scalar("exact")))
