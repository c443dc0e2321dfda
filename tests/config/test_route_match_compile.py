"""What routes match, as values."""

from __future__ import annotations

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.matchers import Fraction, HeaderMatch, QueryMatch, RangeMatch, StringKind, StringMatch
from pyproxy.config.route import PathKind, RouteMatch
from pyproxy.config.route_match_compile import compile_route_match
from tests.config.compiling import problems, unread, view

MATCH = "envoy.config.route.v3.RouteMatch"
TEMPLATE = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("prefix: /a", RouteMatch(PathKind.PREFIX, "/a")),
        ("prefix: ''", RouteMatch(PathKind.PREFIX, "")),
        ("path: /a\ncase_sensitive: false", RouteMatch(PathKind.EXACT, "/a", case_sensitive=False)),
        ("path_separated_prefix: /a", RouteMatch(PathKind.SEPARATED_PREFIX, "/a")),
        ("safe_regex: {google_re2: {}, regex: /a.*}", RouteMatch(PathKind.REGEX, "/a.*")),
        ("connect_matcher: {}", RouteMatch(PathKind.CONNECT, "")),
        ("prefix: /\ngrpc: {}", RouteMatch(PathKind.PREFIX, "/", grpc_only=True)),
        (
            f"path_match_policy: {{name: x, typed_config: {{'@type': {TEMPLATE}, path_template: '/a/{{b}}'}}}}",
            RouteMatch(PathKind.TEMPLATE, "/a/{b}"),
        ),
        (
            "prefix: /\nruntime_fraction: {default_value: {numerator: 5, denominator: MILLION}, runtime_key: k}",
            RouteMatch(PathKind.PREFIX, "/", fraction=Fraction(5, 1_000_000, "k")),
        ),
        (
            """
            prefix: /
            query_parameters: [{name: q}, {name: r, string_match: {suffix: z}}, {name: s, present_match: false}]
            """,
            RouteMatch(
                PathKind.PREFIX,
                "/",
                query=(
                    QueryMatch("q"),
                    QueryMatch("r", StringMatch(StringKind.SUFFIX, "z")),
                    QueryMatch("s", present=False),
                ),
            ),
        ),
    ],
)
def test_a_match_becomes_a_value(text: str, value: RouteMatch) -> None:
    seen = view(MATCH, text)
    assert compile_route_match(seen) == value
    assert unread(seen) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{name: X}", HeaderMatch(b"x", present=True)),
        ("{name: x, present_match: false, invert_match: true}", HeaderMatch(b"x", present=False, invert=True)),
        ("{name: x, range_match: {start: -1, end: 5}}", HeaderMatch(b"x", range=RangeMatch(-1, 5))),
        ("{name: x, exact_match: ''}", HeaderMatch(b"x", StringMatch(StringKind.EXACT, ""))),
        ("{name: x, contains_match: b}", HeaderMatch(b"x", StringMatch(StringKind.CONTAINS, "b"))),
        ("{name: x, safe_regex_match: {regex: b+}}", HeaderMatch(b"x", StringMatch(StringKind.REGEX, "b+"))),
        (
            "{name: ':method', string_match: {exact: get, ignore_case: true}, treat_missing_header_as_empty: true}",
            HeaderMatch(b":method", StringMatch(StringKind.EXACT, "get", ignore_case=True), missing_as_empty=True),
        ),
    ],
)
def test_a_header_matcher_becomes_a_value(text: str, value: HeaderMatch) -> None:
    seen = view(MATCH, f"{{prefix: /, headers: [{text}]}}")
    assert compile_route_match(seen).headers == (value,)
    assert unread(seen) == []


@pytest.mark.parametrize(
    "condition",
    [
        "tls_context: {}",
        "dynamic_metadata: [{filter: f, path: [{key: k}], value: {bool_match: true}}]",
        "filter_state: [{key: k, string_match: {exact: x}}]",
        "headers: [{name: x, string_match: {custom: {name: c}}}]",
    ],
)
def test_a_condition_that_cannot_be_checked_is_a_fault(condition: str) -> None:
    """Without it the route would take requests that are not meant for it."""
    seen = view(MATCH, f"{{prefix: /, {condition}}}")
    try:
        compile_route_match(seen)
    except InvalidConfig as error:
        seen.report.faults.extend(error.faults)
    assert ["not supported" in fault for fault in problems(seen)] == [True]


def test_another_path_matcher_is_refused_by_name() -> None:
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    seen = view(MATCH, f"path_match_policy: {{name: x, typed_config: {{'@type': {router}}}}}")
    with pytest.raises(InvalidConfig, match=r"filters\.http\.router\.v3\.Router is not a path matcher"):
        compile_route_match(seen)
