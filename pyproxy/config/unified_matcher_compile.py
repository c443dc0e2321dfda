"""Compiles the matching API: protobuf -> `config.unified_matcher` values. Envoy: xds.type.matcher.v3.Matcher."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pyproxy.config.matcher_compile import compile_string_match
from pyproxy.config.unified_matcher import (
    AllOf,
    AnyOf,
    ExactMap,
    IpRanges,
    Matcher,
    MatchList,
    Not,
    OnMatch,
    Predicate,
    PrefixMap,
    Single,
)
from pyproxy.config.view import View

_IP: Final = "xds.type.matcher.v3.IPMatcher"
_MOST_DEPTH: Final = 64
"""Of matchers inside of each other."""

Compile = Callable[[View], Any]


@dataclass(frozen=True, slots=True)
class MatcherCompiler:
    """`input` and `action` compile the message of a `TypedExtensionConfig`; they fail where they do not know it."""

    input: Compile
    action: Compile

    def matcher(self, view: View, depth: int = 0) -> Matcher:
        """A `Matcher`."""
        if depth > _MOST_DEPTH:
            view.fail("", f"stands in more than {_MOST_DEPTH} others")
        kind = view.oneof("matcher_type")
        other = view.child("on_no_match")
        otherwise = None if other is None else self._on_match(other, depth)
        if kind == "matcher_list":
            fields = view.need(kind).each("matchers", lambda one: self._field(one, depth))
            return MatchList(fields, otherwise)
        if kind == "matcher_tree":
            return self._tree(view.need(kind), otherwise, depth)
        return MatchList((), otherwise)

    def _field(self, view: View, depth: int) -> tuple[Predicate, OnMatch]:
        return self._predicate(view.need("predicate"), depth), self._on_match(view.need("on_match"), depth)

    def _predicate(self, view: View, depth: int) -> Predicate:
        if depth > _MOST_DEPTH:
            view.fail("", f"stands in more than {_MOST_DEPTH} others")
        kind = view.oneof("match_type")
        match kind:
            case "single_predicate":
                return self._single(view.need(kind))
            case "or_matcher":
                return AnyOf(view.need(kind).each("predicate", lambda one: self._predicate(one, depth + 1)))
            case "and_matcher":
                return AllOf(view.need(kind).each("predicate", lambda one: self._predicate(one, depth + 1)))
            case "not_matcher":
                return Not(self._predicate(view.need(kind), depth + 1))
            case _:
                view.fail("", "says nothing", expected="single_predicate, or_matcher, and_matcher or not_matcher")

    def _single(self, view: View) -> Single:
        if view.oneof("matcher") != "value_match":
            view.fail("custom_match", "matchers that are extensions are not supported here", expected="value_match")
        return Single(self._extension(view, "input", self.input), compile_string_match(view.need("value_match")))

    def _tree(self, view: View, otherwise: OnMatch | None, depth: int) -> Matcher:
        source = self._extension(view, "input", self.input)
        kind = view.oneof("tree_type")
        if kind == "exact_match_map":
            return ExactMap(source, self._map(view.need(kind), depth), otherwise)
        if kind == "prefix_match_map":
            return PrefixMap(source, self._map(view.need(kind), depth), otherwise)
        if kind != "custom_match":
            view.fail("", "says nothing", expected="exact_match_map, prefix_match_map or custom_match")
        custom = view.need(kind)
        custom.ignore("name")  # the type chooses
        typed = custom.any("typed_config")
        if typed is None or typed.type_name != _IP:
            found = "none" if typed is None else typed.type_name
            custom.fail("typed_config", f"the matcher {found} is not supported", expected=_IP)
        ranges = [one for each in typed.each("range_matchers", lambda one: self._ranges(one, depth)) for one in each]
        return IpRanges(source, tuple(sorted(ranges, key=lambda one: -one[0].prefixlen)), otherwise)

    def _map(self, view: View, depth: int) -> MappingProxyType[str, OnMatch]:
        return MappingProxyType({key: self._on_match(one, depth) for key, one in view.entries("map").items()})

    def _ranges(self, view: View, depth: int) -> list[tuple[Any, OnMatch, bool]]:
        found, exclusive = self._on_match(view.need("on_match"), depth), bool(view.scalar("exclusive"))
        ranges = []
        for one in view.children("ranges"):
            text = f"{one.text('address_prefix')}/{one.wrapped('prefix_len') or 0}"
            try:
                ranges.append((ipaddress.ip_network(text, strict=False), found, exclusive))
            except ValueError:
                one.fail("", f"{text} is no range of addresses", expected="an IP address and a prefix length")
        return ranges

    def _on_match(self, view: View, depth: int) -> OnMatch:
        if view.scalar("keep_matching"):
            view.fail("keep_matching", "is of no use here: one action is wanted", expected="false")
        kind = view.oneof("on_match")
        if kind == "matcher":
            return OnMatch(matcher=self.matcher(view.need(kind), depth + 1))
        if kind == "action":
            return OnMatch(action=self._extension(view, kind, self.action))
        view.fail("", "says nothing", expected="matcher or action")

    def _extension(self, view: View, name: str, compile_one: Compile) -> Any:
        extension = view.need(name)
        extension.ignore("name")  # the type chooses
        typed = extension.any("typed_config")
        if typed is None:
            extension.fail("typed_config", "is required")
        return compile_one(typed)
