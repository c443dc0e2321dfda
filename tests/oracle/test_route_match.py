"""Which route of a virtual host takes a request: by path, headers, query and chance."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, Json, get, in_turn, post, request, says
from tests.oracle.conftest import Pair

TEMPLATE = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"


def template(text: str) -> Json:
    typed = {"@type": TEMPLATE, "path_template": text}
    return {"path_match_policy": {"name": "envoy.path.match.uri_template.uri_template_matcher", "typed_config": typed}}


def header(name: str, **matcher: object) -> list[Json]:
    """A route that needs this header, and one for everybody else."""
    return [says("yes", {"prefix": "/", "headers": [{"name": name, **matcher}]}), says("no", {"prefix": "/"})]


def query(name: str, **matcher: object) -> list[Json]:
    wanted = {"prefix": "/", "query_parameters": [{"name": name, **matcher}]}
    return [says("yes", wanted), says("no", {"prefix": "/"})]


def fraction(numerator: int, denominator: str = "HUNDRED") -> list[Json]:
    share = {"default_value": {"numerator": numerator, "denominator": denominator}}
    return [says("yes", {"prefix": "/", "runtime_fraction": share}), says("no", {"prefix": "/"})]


ALL = (200, 200, 200, 200)

PATHS = [
    Case(
        id="prefix",
        routes=[says("p", {"prefix": "/a"})],
        send=in_turn(get("/a"), get("/ab"), get("/a/b?x"), get("/b")),
        status=(200, 200, 200, 404),
    ),
    Case(
        id="prefix-and-query",
        routes=[says("q", {"prefix": "/a?x"}), says("p", {"prefix": "/a"})],
        send=in_turn(get("/a?x=1"), get("/a")),
        status=(200, 200),
    ),
    Case(
        id="prefix-is-case-sensitive",
        routes=[says("p", {"prefix": "/Ab"})],
        send=in_turn(get("/Ab"), get("/ab")),
        status=(200, 404),
    ),
    Case(
        id="prefix-any-case",
        routes=[says("p", {"prefix": "/Ab", "case_sensitive": False})],
        send=in_turn(get("/ab"), get("/ABc"), get("/b")),
        status=(200, 200, 404),
    ),
    Case(
        id="prefix-empty",
        routes=[says("p", {"prefix": ""})],
        send=in_turn(get("/"), get("/x?y"), request("OPTIONS", "/x")),
        status=(200, 200, 200),
    ),
    Case(
        id="path",
        routes=[says("p", {"path": "/a"})],
        send=in_turn(get("/a"), get("/a?x"), get("/a/"), get("/A")),
        status=(200, 200, 404, 404),
    ),
    Case(
        id="path-with-query-in-config",
        routes=[says("p", {"path": "/a?x"})],
        send=in_turn(get("/a?x"), get("/a")),
        status=(404, 404),
    ),
    Case(
        id="path-any-case",
        routes=[says("p", {"path": "/Abc", "case_sensitive": False})],
        send=in_turn(get("/aBC"), get("/abcd")),
        status=(200, 404),
    ),
    Case(
        id="path-percent-is-not-decoded",
        routes=[says("p", {"path": "/a b"}), says("q", {"path": "/a%20b"})],
        send=in_turn(get("/a%20b"), get("/%61%20b")),
        status=(200, 404),
    ),
    Case(
        id="path-separated-prefix",
        routes=[says("p", {"path_separated_prefix": "/a/b"})],
        send=in_turn(get("/a/b"), get("/a/b/c"), get("/a/b?x"), get("/a/bc"), get("/a/b/")),
        status=(200, 200, 200, 404, 200),
    ),
    Case(
        id="path-separated-prefix-any-case",
        routes=[says("p", {"path_separated_prefix": "/Ab", "case_sensitive": False})],
        send=in_turn(get("/aB/c"), get("/abc")),
        status=(200, 404),
    ),
    Case(
        id="regex-matches-whole-path",
        routes=[says("r", {"safe_regex": {"regex": "/b/[0-9]+"}})],
        send=in_turn(get("/b/12"), get("/b/12?x=1"), get("/b/12/"), get("/x/b/12"), get("/b/")),
        status=(200, 200, 404, 404, 404),
    ),
    Case(
        id="regex-alternatives",
        routes=[says("r", {"safe_regex": {"regex": "/(a|b)/.*|/c"}})],
        send=in_turn(get("/a/"), get("/b/x/y"), get("/c"), get("/cd")),
        status=(200, 200, 200, 404),
    ),
    Case(
        id="regex-ignores-case-on-demand",
        routes=[says("r", {"safe_regex": {"regex": "(?i)/ab\\.txt"}})],
        send=in_turn(get("/AB.TXT"), get("/abxtxt")),
        status=(200, 404),
    ),
    Case(
        id="regex-classes",
        routes=[says("r", {"safe_regex": {"regex": "/[[:alpha:]]+\\d{2}"}})],
        send=in_turn(get("/abc12"), get("/abc1"), get("/12")),
        status=(200, 404, 404),
    ),
    Case(
        id="template-one-segment",
        routes=[says("t", template("/v/{id}/part"))],
        send=in_turn(get("/v/1/part"), get("/v/1/2/part"), get("/v//part"), get("/v/1/part?x")),
        status=(200, 404, 404, 200),
    ),
    Case(
        id="template-wildcards",
        routes=[says("one", template("/a/*/c")), says("many", template("/a/**"))],
        send=in_turn(get("/a/b/c"), get("/a/b/c/d"), get("/a/"), get("/b")),
        status=(200, 200, 200, 404),
    ),
    Case(
        id="template-with-suffix",
        routes=[says("t", template("/x/{dir=**}.m4s"))],
        send=in_turn(get("/x/a/b/c.m4s"), get("/x/c.m4s"), get("/y/c.m4s"), get("/x/a/c.mp4")),
        status=(200, 200, 404, 404),
    ),
    Case(
        id="first-match-wins",
        routes=[
            says("1", {"prefix": "/a/b"}),
            says("2", {"path": "/a/b/c"}),
            says("3", {"safe_regex": {"regex": "/a/.*"}}),
            says("4", {"prefix": "/a"}),
            says("5", {"path": "/ab"}),
            says("6", {"prefix": "/"}),
        ],
        send=in_turn(get("/a/b/c"), get("/a/x"), get("/ab"), get("/")),
        status=ALL,
    ),
    Case(
        id="first-match-wins-among-kinds",
        routes=[
            says("1", {"prefix": "/", "headers": [{"name": "x", "present_match": True}]}),
            says("2", {"path": "/p"}),
            says("3", {"path_separated_prefix": "/p"}),
            says("4", {"prefix": "/p", "case_sensitive": False}),
        ],
        send=in_turn(get("/p", "x: 1"), get("/p"), get("/p/q"), get("/P"), get("/q")),
        status=(200, 200, 200, 200, 404),
    ),
    Case(
        id="path-of-many-slashes",
        routes=[says("p", {"path": "/a/b"}), says("q", {"prefix": "//"})],
        send=in_turn(get("//a/b"), get("/a//b"), get("/a/./b"), get("/a/../a/b")),
        status=(200, 404, 404, 404),
    ),
    Case(
        id="no-route-of-a-virtual-host",
        routes=[],
        send=[get("/")],
        status=404,
        flags="NR",
        details="route_not_found",
    ),
]

HEADERS = [
    Case(
        id="header-exact",
        routes=header("x-a", string_match={"exact": "v"}),
        send=in_turn(get("/", "x-a: v"), get("/", "X-A: v"), get("/", "x-a: V"), get("/", "x-a: vv"), get("/")),
        status=(200,) * 5,
    ),
    Case(
        id="header-exact-any-case",
        routes=header("x-a", string_match={"exact": "Val", "ignore_case": True}),
        send=in_turn(get("/", "x-a: vAL"), get("/", "x-a: va")),
        status=(200, 200),
    ),
    Case(
        id="header-prefix",
        routes=header("x-a", string_match={"prefix": "ab"}),
        send=in_turn(get("/", "x-a: abc"), get("/", "x-a: ab"), get("/", "x-a: xab")),
        status=(200, 200, 200),
    ),
    Case(
        id="header-suffix",
        routes=header("x-a", string_match={"suffix": ".com", "ignore_case": True}),
        send=in_turn(get("/", "x-a: a.COM"), get("/", "x-a: .comx")),
        status=(200, 200),
    ),
    Case(
        id="header-contains",
        routes=header("x-a", string_match={"contains": "mid"}),
        send=in_turn(get("/", "x-a: a mid b"), get("/", "x-a: MID")),
        status=(200, 200),
    ),
    Case(
        id="header-regex",
        routes=header("x-a", string_match={"safe_regex": {"regex": "[a-c]+"}}),
        send=in_turn(get("/", "x-a: abc"), get("/", "x-a: abcd")),
        status=(200, 200),
    ),
    Case(
        id="header-range",
        routes=header("x-n", range_match={"start": -2, "end": 10}),
        send=in_turn(
            get("/", "x-n: -2"), get("/", "x-n: 9"), get("/", "x-n: 10"), get("/", "x-n: 1.5"), get("/", "x-n: +3")
        ),
        status=(200,) * 5,
    ),
    Case(
        id="header-present",
        routes=header("x-a", present_match=True),
        send=in_turn(get("/", "x-a: 1"), get("/", "x-a:"), get("/")),
        status=(200, 200, 200),
    ),
    Case(
        id="header-absent",
        routes=header("x-a", present_match=False),
        send=in_turn(get("/", "x-a: 1"), get("/")),
        status=(200, 200),
    ),
    Case(
        id="header-present-inverted",
        routes=header("x-a", present_match=True, invert_match=True),
        send=in_turn(get("/", "x-a: 1"), get("/")),
        status=(200, 200),
    ),
    Case(
        id="header-exact-inverted",
        routes=header("x-a", string_match={"exact": "v"}, invert_match=True),
        send=in_turn(get("/", "x-a: v"), get("/", "x-a: w"), get("/")),
        status=(200, 200, 200),
    ),
    Case(
        id="header-range-inverted",
        routes=header("x-n", range_match={"start": 1, "end": 5}, invert_match=True),
        send=in_turn(get("/", "x-n: 3"), get("/", "x-n: 7"), get("/", "x-n: abc"), get("/")),
        status=ALL,
    ),
    Case(
        id="header-missing-is-empty",
        routes=header("x-a", string_match={"exact": ""}, treat_missing_header_as_empty=True),
        send=in_turn(get("/"), get("/", "x-a:"), get("/", "x-a: 1")),
        status=(200, 200, 200),
    ),
    Case(
        id="header-missing-is-empty-inverted",
        routes=header("x-a", string_match={"exact": "v"}, treat_missing_header_as_empty=True, invert_match=True),
        send=in_turn(get("/"), get("/", "x-a: v"), get("/", "x-a: 1")),
        status=(200, 200, 200),
    ),
    Case(
        id="header-missing-is-empty-present",
        routes=header("x-a", present_match=True, treat_missing_header_as_empty=True),
        send=in_turn(get("/"), get("/", "x-a: v")),
        status=(200, 200),
    ),
    Case(
        id="header-missing-is-empty-regex",
        routes=header("x-a", string_match={"safe_regex": {"regex": "a*"}}, treat_missing_header_as_empty=True),
        send=in_turn(get("/"), get("/", "x-a: aa"), get("/", "x-a: b")),
        status=(200, 200, 200),
    ),
    Case(
        id="header-without-matcher",
        routes=header("x-a"),
        send=in_turn(get("/"), get("/", "x-a: v")),
        status=(200, 200),
    ),
    Case(
        id="header-method",
        routes=header(":method", string_match={"exact": "POST"}),
        send=in_turn(get("/"), post("/", b"x")),
        status=(200, 200),
    ),
    Case(
        id="header-authority",
        routes=header(":authority", string_match={"prefix": "header-authority"}),
        send=[get("/")],
        status=200,
    ),
    Case(
        id="header-path-with-query",
        routes=header(":path", string_match={"suffix": "?x"}),
        send=in_turn(get("/a?x"), get("/a")),
        status=(200, 200),
    ),
    Case(
        id="header-scheme",
        routes=header(":scheme", string_match={"exact": "http"}),
        send=[get("/")],
        status=200,
    ),
    Case(
        id="header-host-by-name",
        routes=header("host", present_match=True),
        send=[get("/")],
        status=200,
    ),
    Case(
        id="header-sent-twice",
        routes=header("x-a", string_match={"exact": "1,2"}),
        send=in_turn(get("/", "x-a: 1", "x-a: 2"), get("/", "x-a: 1,2"), get("/", "x-a: 1, 2")),
        status=(200, 200, 200),
    ),
    Case(
        id="header-sent-twice-one-value",
        routes=[
            says("first", {"prefix": "/1", "headers": [{"name": "x-a", "string_match": {"exact": "1"}}]}),
            says("second", {"prefix": "/2", "headers": [{"name": "x-a", "string_match": {"exact": "2"}}]}),
            says("joined", {"prefix": "/", "headers": [{"name": "x-a", "string_match": {"exact": "1, 2"}}]}),
            says("no", {"prefix": "/"}),
        ],
        send=in_turn(get("/1", "x-a: 1", "x-a: 2"), get("/2", "x-a: 1", "x-a: 2"), get("/3", "x-a: 1", "x-a: 2")),
        status=(200, 200, 200),
    ),
    Case(
        id="header-sent-twice-inverted",
        routes=header("x-a", string_match={"exact": "1"}, invert_match=True),
        send=in_turn(get("/", "x-a: 1", "x-a: 2"), get("/", "x-a: 2", "x-a: 1"), get("/", "x-a: 3", "x-a: 2")),
        status=(200, 200, 200),
    ),
    Case(
        id="headers-must-all-match",
        routes=[
            says(
                "both",
                {
                    "prefix": "/",
                    "headers": [{"name": "a", "present_match": True}, {"name": "b", "present_match": True}],
                },
            ),
            says("no", {"prefix": "/"}),
        ],
        send=in_turn(get("/", "a: 1", "b: 1"), get("/", "a: 1")),
        status=(200, 200),
    ),
    Case(
        id="header-and-path",
        routes=[
            says("yes", {"path": "/x", "headers": [{"name": "a", "string_match": {"exact": "1"}}]}),
            says("no", {"prefix": "/"}),
        ],
        send=in_turn(get("/x", "a: 1"), get("/y", "a: 1"), get("/x", "a: 2")),
        status=(200, 200, 200),
    ),
]

QUERIES = [
    Case(
        id="query-exact",
        routes=query("k", string_match={"exact": "v"}),
        send=in_turn(get("/?k=v"), get("/?a=1&k=v"), get("/?k=w"), get("/?K=v"), get("/")),
        status=(200,) * 5,
    ),
    Case(
        id="query-any-case",
        routes=query("k", string_match={"exact": "V", "ignore_case": True}),
        send=in_turn(get("/?k=v"), get("/?k=V")),
        status=(200, 200),
    ),
    Case(
        id="query-prefix",
        routes=query("k", string_match={"prefix": "ab"}),
        send=in_turn(get("/?k=abc"), get("/?k=xab")),
        status=(200, 200),
    ),
    Case(
        id="query-regex",
        routes=query("k", string_match={"safe_regex": {"regex": "[0-9]+"}}),
        send=in_turn(get("/?k=12"), get("/?k=12a"), get("/?k=")),
        status=(200, 200, 200),
    ),
    Case(
        id="query-present",
        routes=query("k", present_match=True),
        send=in_turn(get("/?k"), get("/?k="), get("/?kk=1"), get("/?x#k")),
        status=(200, 200, 200, 400),
    ),
    Case(
        id="query-absent",
        routes=query("k", present_match=False),
        send=in_turn(get("/?k"), get("/")),
        status=(200, 200),
    ),
    Case(
        id="query-without-matcher",
        routes=query("k"),
        send=in_turn(get("/?k"), get("/")),
        status=(200, 200),
    ),
    Case(
        id="query-repeated",
        routes=query("k", string_match={"exact": "2"}),
        send=in_turn(get("/?k=1&k=2"), get("/?k=2&k=1")),
        status=(200, 200),
    ),
    Case(
        id="query-percent-encoded",
        routes=query("k", string_match={"exact": "a b"}),
        send=in_turn(get("/?k=a%20b"), get("/?k=a+b"), get("/?%6b=a%20b")),
        status=(200, 200, 200),
    ),
]

CHANCE = [
    Case(id="fraction-none", routes=fraction(0), send=[get("/")], status=200),
    Case(id="fraction-all", routes=fraction(100), send=[get("/")], status=200),
    Case(id="fraction-all-of-a-million", routes=fraction(1000000, "MILLION"), send=[get("/")], status=200),
    Case(id="fraction-none-of-ten-thousand", routes=fraction(0, "TEN_THOUSAND"), send=[get("/")], status=200),
]

CASES = PATHS + HEADERS + QUERIES + CHANCE


@pytest.mark.oracle
@pytest.mark.xdist_group("route_match")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
