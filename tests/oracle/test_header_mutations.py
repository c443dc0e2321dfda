"""Headers that the configuration adds and removes: where, in which order, with which values."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, Json, add_header, get, post, route
from tests.oracle.conftest import Pair
from tests.support.upstream import Answer, reply


def level(text: str) -> Json:
    """The four lists of one level; the values name the level, so that the order can be seen."""
    return {
        "request_headers_to_add": [add_header("x-req", text), add_header("x-set", text, "OVERWRITE_IF_EXISTS_OR_ADD")],
        "response_headers_to_add": [add_header("x-resp", text), add_header("x-one", text, "ADD_IF_ABSENT")],
        "request_headers_to_remove": [f"x-drop-{text}"],
        "response_headers_to_remove": [f"x-gone-{text}"],
    }


def both_ways(id: str, *options: Json, sent: tuple[str, ...] = (), **fields: object) -> Case:  # noqa: A002
    """The same options for the request and for the response, with the same headers there before."""
    return Case(
        id=id,
        routes=[{**route(name="named"), "request_headers_to_add": [*options], "response_headers_to_add": [*options]}],
        send=[get("/some/path?q=1", *sent)],
        upstream=[reply("200 OK", b"ok", *sent)],
        status=200,
        **fields,  # type: ignore[arg-type]
    )


def formats(id: str, *pairs: tuple[str, str], answer: Answer | None = None, **fields: object) -> Case:  # noqa: A002
    options = [add_header(name, value) for name, value in pairs]
    return Case(
        id=f"format-{id}",
        routes=[{**route(name="named"), "request_headers_to_add": options, "response_headers_to_add": options}],
        send=[get("/some/path?q=1&r=%20", "x-in: in", "x-two: 1", "x-two: 2", "user-agent: ua")],
        upstream=[answer or reply("202 Accepted", b"ok", "x-out: out", "content-type: text/x")],
        status=200 if answer else 202,
        **fields,  # type: ignore[arg-type]
    )


DROPPED = tuple(f"x-drop-{text}: 1" for text in ("table", "vhost", "route", "weight"))
GONE = tuple(f"x-gone-{text}: 1" for text in ("table", "vhost", "route", "weight"))
WEIGHT: Json = {
    "match": {"prefix": "/"},
    "route": {"weighted_clusters": {"clusters": [{"name": "up", "weight": 1, **level("weight")}]}},
    **level("route"),
}

LEVELS = [
    Case(
        id="levels-route-first",
        table=level("table"),
        vhost=level("vhost"),
        routes=[WEIGHT],
        send=[get("/", *DROPPED, "x-req: sent", "x-set: sent")],
        upstream=[reply("200 OK", b"ok", *GONE, "x-resp: sent", "x-one: sent")],
        status=200,
    ),
    Case(
        id="levels-most-specific-wins",
        table={**level("table"), "most_specific_header_mutations_wins": True},
        vhost=level("vhost"),
        routes=[WEIGHT],
        send=[get("/", *DROPPED, "x-req: sent", "x-set: sent")],
        upstream=[reply("200 OK", b"ok", *GONE, "x-resp: sent")],
        status=200,
    ),
    Case(
        id="levels-table-only",
        table=level("table"),
        routes=[route()],
        send=[get("/", *DROPPED)],
        upstream=[reply("200 OK", b"ok", *GONE)],
        status=200,
    ),
    Case(
        id="levels-vhost-only",
        vhost=level("vhost"),
        routes=[route()],
        send=[get("/", *DROPPED)],
        upstream=[reply("200 OK", b"ok", *GONE)],
        status=200,
    ),
    Case(
        id="levels-of-a-direct-response",
        table=level("table"),
        vhost=level("vhost"),
        routes=[
            {
                "match": {"prefix": "/"},
                "direct_response": {"status": 200, "body": {"inline_string": "x"}},
                "response_headers_to_add": [add_header("x-resp", "route")],
            }
        ],
        send=[get("/")],
        status=200,
    ),
    Case(
        id="levels-of-a-local-reply",
        table=level("table"),
        vhost=level("vhost"),
        routes=[{**route(cluster="empty"), "response_headers_to_add": [add_header("x-resp", "route")]}],
        send=[get("/")],
        status=503,
    ),
    Case(
        id="levels-of-no-route",
        table=level("table"),
        vhost=level("vhost"),
        routes=[],
        send=[get("/")],
        status=404,
    ),
]

ACTIONS = [
    both_ways("append-by-default", add_header("x-a", "new"), sent=("x-a: old",)),
    both_ways("append", add_header("x-a", "new", "APPEND_IF_EXISTS_OR_ADD"), sent=("x-a: old", "x-b: between")),
    both_ways("append-to-none", add_header("x-a", "new", "APPEND_IF_EXISTS_OR_ADD")),
    both_ways(
        "add-if-absent",
        add_header("x-a", "new", "ADD_IF_ABSENT"),
        add_header("x-b", "new", "ADD_IF_ABSENT"),
        sent=("x-a: old",),
    ),
    both_ways(
        "overwrite-or-add", add_header("x-a", "new", "OVERWRITE_IF_EXISTS_OR_ADD"), sent=("x-a: 1", "x-b: 2", "x-a: 3")
    ),
    both_ways("overwrite-or-add-none", add_header("x-a", "new", "OVERWRITE_IF_EXISTS_OR_ADD")),
    both_ways(
        "overwrite-if-exists",
        add_header("x-a", "new", "OVERWRITE_IF_EXISTS"),
        add_header("x-b", "new", "OVERWRITE_IF_EXISTS"),
        sent=("x-a: old",),
    ),
    both_ways("twice-the-same", add_header("x-a", "1"), add_header("x-a", "2")),
    both_ways(
        "joined-when-inline",
        add_header("via", "new"),
        add_header("content-type", "text/new"),
        add_header("cache-control", "no-store"),
        sent=("via: old", "content-type: text/old"),
    ),
    both_ways("keep-empty", add_header("x-a", "", keep_empty_value=True), add_header("x-b", "")),
    both_ways(
        "empty-by-format", add_header("x-a", "%REQ(x-none)%"), add_header("x-b", "%REQ(x-none)%", keep_empty_value=True)
    ),
    both_ways("upper-case-name", add_header("X-Upper-Case", "Value")),
    both_ways(
        "deprecated-append-false", {"header": {"key": "x-a", "value": "new"}, "append": False}, sent=("x-a: old",)
    ),
    Case(
        id="remove",
        routes=[
            {
                **route(),
                "request_headers_to_remove": ["x-a", "X-B", "x-none", "cookie"],
                "response_headers_to_remove": ["x-a", "X-B", "set-cookie", "server", "date"],
            }
        ],
        send=[get("/", "x-a: 1", "x-a: 2", "x-b: 1", "x-c: 1", "cookie: a", "cookie: b")],
        upstream=[reply("200 OK", b"ok", "x-a: 1", "x-b: 1", "x-b: 2", "x-c: 1", "set-cookie: a", "server: mine")],
        status=200,
    ),
    Case(
        id="remove-then-add",
        routes=[
            {
                **route(),
                "request_headers_to_remove": ["x-a"],
                "request_headers_to_add": [add_header("x-a", "new")],
                "response_headers_to_remove": ["x-a"],
                "response_headers_to_add": [add_header("x-a", "new")],
            }
        ],
        send=[get("/", "x-a: old")],
        upstream=[reply("200 OK", b"ok", "x-a: old")],
        status=200,
    ),
    Case(
        id="remove-envoy-headers",
        routes=[
            {
                **route(),
                "request_headers_to_remove": ["x-request-id", "x-envoy-expected-rq-timeout-ms", "x-forwarded-proto"],
                "response_headers_to_remove": ["x-envoy-upstream-service-time", "content-length"],
            }
        ],
        send=[get("/")],
        status=200,
    ),
    Case(
        id="set-host-and-agent",
        routes=[
            {
                **route(),
                "request_headers_to_add": [
                    add_header("user-agent", "mine", "OVERWRITE_IF_EXISTS_OR_ADD"),
                    add_header("x-host", "%REQ(:authority)%"),
                ],
            }
        ],
        send=[get("/", "user-agent: yours")],
        status=200,
    ),
    Case(
        id="add-to-a-post",
        routes=[{**route(), "request_headers_to_add": [add_header("x-a", "%REQ(content-length)%")]}],
        send=[post("/", b"hello")],
        status=200,
    ),
]

FORMATS = [
    formats("plain", ("x-a", "text with spaces"), ("x-b", "100%%"), ("x-c", "a%%b%%%%c")),
    formats(
        "request",
        ("x-a", "%REQ(x-in)%"),
        ("x-b", "[%REQ(X-IN)%]"),
        ("x-c", "%REQ(x-none)%"),
        ("x-d", "a%REQ(x-none)%b"),
        ("x-e", "%REQ(x-two)%"),
    ),
    formats(
        "request-or-other", ("x-a", "%REQ(x-none?x-in)%"), ("x-b", "%REQ(x-in?user-agent)%"), ("x-c", "%REQ(x-in):1%")
    ),
    formats(
        "pseudo",
        ("x-a", "%REQ(:path)%"),
        ("x-b", "%REQ(:method)%"),
        ("x-c", "%REQ(:scheme)%"),
        ("x-d", "%REQ(:authority)%"),
        ("x-e", "%PROTOCOL%"),
    ),
    formats("response", ("x-a", "%RESP(x-out)%"), ("x-b", "%RESPONSE_CODE%"), ("x-c", "%RESP(:status)%")),
    formats(
        "addresses",
        ("x-a", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ("x-b", "%DOWNSTREAM_LOCAL_ADDRESS%"),
        ("x-c", "%DOWNSTREAM_LOCAL_PORT%"),
        ("x-d", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"),
    ),
    formats(
        "upstream",
        ("x-a", "%UPSTREAM_HOST%"),
        ("x-b", "%UPSTREAM_CLUSTER%"),
        ("x-c", "%UPSTREAM_REMOTE_ADDRESS%"),
        ("x-d", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ),
    formats("route", ("x-a", "%ROUTE_NAME%"), ("x-b", "%VIRTUAL_CLUSTER_NAME%")),
    formats(
        "path",
        ("x-a", "%PATH%"),
        ("x-b", "%PATH(NQ)%"),
        ("x-c", "%PATH(WQ)%"),
        ("x-d", "%PATH(NQ:ORIG)%"),
        ("x-e", "%QUERY_PARAM(q)%"),
        ("x-f", "%QUERY_PARAM(r)%"),
    ),
    formats("ids", ("x-a", "%STREAM_ID%"), ("x-b", "%HOSTNAME%")),
    formats(
        "flags", ("x-a", "%RESPONSE_FLAGS%"), ("x-b", "%RESPONSE_CODE_DETAILS%"), ("x-c", "%REQUESTED_SERVER_NAME%")
    ),
    formats("environment", ("x-a", "%ENVIRONMENT(PYPROXY_ORACLE_UNSET)%"), ("x-b", "%ENVIRONMENT(LANG_NOT_SET):3%")),
    formats("several", ("x-a", "%REQ(x-in)%/%REQ(:method)%-%PROTOCOL%")),
]

CASES = LEVELS + ACTIONS + FORMATS


@pytest.mark.oracle
@pytest.mark.xdist_group("header_mutations")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
