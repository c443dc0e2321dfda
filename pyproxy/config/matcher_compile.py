"""Compiles matchers: protobuf -> `config.matchers` values."""

from __future__ import annotations

from typing import Final

from pyproxy.config.matchers import Fraction, HeaderMatch, QueryMatch, RangeMatch, StringKind, StringMatch
from pyproxy.config.regex import BadRegex, check_regex
from pyproxy.config.view import View

DENOMINATORS: Final = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}

_KINDS: Final = {
    "exact": StringKind.EXACT,
    "prefix": StringKind.PREFIX,
    "suffix": StringKind.SUFFIX,
    "contains": StringKind.CONTAINS,
}

# Fields of HeaderMatcher that say in one field what `string_match` says; deprecated, and still sent by control planes.
_OLD_KINDS: Final = {
    "exact_match": StringKind.EXACT,
    "prefix_match": StringKind.PREFIX,
    "suffix_match": StringKind.SUFFIX,
    "contains_match": StringKind.CONTAINS,
}

ANY_PRESENT: Final = True


def compile_regex_text(view: View) -> str:
    """The pattern of a `RegexMatcher`, checked. Raises InvalidConfig where RE2 would not take it."""
    view.ignore("google_re2")  # the only engine; its one option has had no effect for years
    pattern = view.text("regex")
    try:
        check_regex(pattern)
    except BadRegex as error:
        view.fail("regex", f"is not a regular expression of RE2: {error}", expected=error.expected)
    return pattern


def compile_string_match(view: View) -> StringMatch:
    """A `StringMatcher`."""
    kind = view.oneof("match_pattern")
    ignore_case = bool(view.scalar("ignore_case"))
    if kind == "safe_regex":
        if ignore_case:
            view.fail("ignore_case", "has no effect on safe_regex", expected="(?i) at the start of the regex")
        return StringMatch(StringKind.REGEX, compile_regex_text(view.need(kind)))
    if kind is None or kind not in _KINDS:
        view.fail(
            kind or "", "is not supported" if kind else "says nothing", expected=f"{', '.join(_KINDS)}, safe_regex"
        )
    return StringMatch(_KINDS[kind], view.text(kind), ignore_case)


def compile_header_match(view: View) -> HeaderMatch:
    """A `HeaderMatcher`."""
    name = view.text("name").lower().encode()
    invert = bool(view.scalar("invert_match"))
    as_empty = bool(view.scalar("treat_missing_header_as_empty"))
    kind = view.oneof("header_match_specifier")
    match kind:
        case None:
            return HeaderMatch(name, present=True, invert=invert, missing_as_empty=as_empty)
        case "present_match":
            present = bool(view.scalar(kind))
            return HeaderMatch(name, present=present, invert=invert, missing_as_empty=as_empty)
        case "range_match":
            limits = view.need(kind)
            range_match = RangeMatch(limits.scalar("start"), limits.scalar("end"))
            return HeaderMatch(name, range=range_match, invert=invert, missing_as_empty=as_empty)
        case "string_match":
            string = compile_string_match(view.need(kind))
        case "safe_regex_match":
            string = StringMatch(StringKind.REGEX, compile_regex_text(view.need(kind)))
        case _:
            string = StringMatch(_OLD_KINDS[kind], view.text(kind))
    return HeaderMatch(name, string=string, invert=invert, missing_as_empty=as_empty)


def compile_query_match(view: View) -> QueryMatch:
    """A `QueryParameterMatcher`."""
    name = view.text("name")
    kind = view.oneof("query_parameter_match_specifier")
    if kind == "string_match":
        return QueryMatch(name, compile_string_match(view.need(kind)))
    return QueryMatch(name, present=bool(view.scalar(kind)) if kind else ANY_PRESENT)


def compile_percent(view: View, runtime_key: str = "") -> Fraction:
    """A `FractionalPercent`."""
    denominator = view.enum("denominator")
    if denominator not in DENOMINATORS:
        view.fail("denominator", f"unknown value {denominator}", expected=f"one of {', '.join(DENOMINATORS)}")
    return Fraction(view.scalar("numerator"), DENOMINATORS[denominator], runtime_key)


def compile_runtime_fraction(view: View) -> Fraction:
    """A `RuntimeFractionalPercent`."""
    return compile_percent(view.need("default_value"), view.text("runtime_key"))
