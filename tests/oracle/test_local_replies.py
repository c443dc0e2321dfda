"""`local_reply_config`: the answers that a proxy makes itself, changed by mappers and body formats."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, Json, add_header, get, in_turn, request, route
from tests.oracle.conftest import Pair
from tests.support.upstream import AwaitBody, Close, reply

ROUTES = [
    route("/empty", "empty", name="empty-route"),
    route("/refused", "refused"),
    {"match": {"prefix": "/nc"}, "route": {"cluster_header": "x-c"}},
    {"match": {"prefix": "/direct"}, "direct_response": {"status": 418, "body": {"inline_string": "tea"}}},
    {"match": {"prefix": "/redirect"}, "redirect": {"path_redirect": "/new"}},
    route("/up"),
]
# Every answer that the proxy makes, and one of the upstream with the same status.
EVERY = in_turn(
    get("/empty"), get("/refused"), get("/nc"), get("/direct"), get("/redirect"), get("/nowhere"), get("/up")
)
EVERY_STATUS = (503, 503, 503, 418, 301, 404, 503)


def status_is(code: int, op: str = "EQ") -> Json:
    comparison = {"op": op, "value": {"default_value": code, "runtime_key": "oracle.status"}}
    return {"status_code_filter": {"comparison": comparison}}


def flag_is(*flags: str) -> Json:
    return {"response_flag_filter": {"flags": list(flags)}}


def mapped(id: str, *mappers: Json, status: tuple[int, ...] = EVERY_STATUS, **config: object) -> Case:  # noqa: A002
    return Case(
        id=id,
        hcm={"local_reply_config": {"mappers": list(mappers), **config}},
        routes=ROUTES,
        send=EVERY,
        upstream=[reply("503 X", b"theirs")],
        status=status,
    )


def text(format_string: str, **fields: object) -> Json:
    return {"text_format_source": {"inline_string": format_string}, **fields}


CASES = [
    mapped("no-mapper"),
    mapped("status", {"filter": status_is(503), "status_code": 599}, status=(599, 599, 599, 418, 301, 404, 503)),
    mapped("body", {"filter": status_is(404), "body": {"inline_string": "not here"}}),
    mapped(
        "by-flag",
        {"filter": flag_is("UH"), "status_code": 500, "body": {"inline_string": "nobody"}},
        {"filter": flag_is("UF", "NC"), "status_code": 502},
        status=(500, 502, 502, 418, 301, 404, 503),
    ),
    mapped(
        "first-mapper-wins",
        {"filter": status_is(400, "GE"), "headers_to_add": [add_header("x-m", "1")]},
        {"filter": status_is(503), "headers_to_add": [add_header("x-m", "2")]},
    ),
    mapped(
        "headers",
        {
            "filter": status_is(503),
            "headers_to_add": [
                add_header("x-code", "%RESPONSE_CODE%"),
                add_header("x-flags", "%RESPONSE_FLAGS%"),
                add_header("server", "mapped", "OVERWRITE_IF_EXISTS_OR_ADD"),
            ],
        },
    ),
    mapped(
        "text-format", body_format=text("%LOCAL_REPLY_BODY%|%RESPONSE_CODE%|%RESPONSE_FLAGS%|%RESPONSE_CODE_DETAILS%\n")
    ),
    mapped(
        "text-of-request", body_format=text("%REQ(:path)% %REQ(:authority)% %ROUTE_NAME% %UPSTREAM_CLUSTER% %PROTOCOL%")
    ),
    mapped("content-type", body_format=text("<p>%LOCAL_REPLY_BODY%</p>", content_type="text/html; charset=UTF-8")),
    mapped(
        "json-format",
        body_format={
            "json_format": {
                "status": "%RESPONSE_CODE%",
                "message": "%LOCAL_REPLY_BODY%",
                "nested": {"path": "%REQ(:path)%", "list": ["%PROTOCOL%", "x"]},
                "missing": "%REQ(x-none)%",
                "number": 3,
            }
        },
    ),
    mapped(
        "mapper-format",
        {
            "filter": status_is(503),
            "body": {"inline_string": "replaced"},
            "body_format_override": text("[%LOCAL_REPLY_BODY%]"),
        },
        body_format=text("({%LOCAL_REPLY_BODY%})"),
    ),
    mapped(
        "status-in-format",
        {"filter": status_is(503), "status_code": 520},
        status=(520, 520, 520, 418, 301, 404, 503),
        body_format=text("%RESPONSE_CODE%"),
    ),
    mapped(
        "json-mapper",
        {"filter": flag_is("UH"), "body_format_override": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}}},
    ),
    mapped(
        "and-or",
        {
            "filter": {
                "and_filter": {"filters": [status_is(503), {"or_filter": {"filters": [flag_is("UH"), flag_is("NC")]}}]}
            },
            "status_code": 511,
        },
        status=(511, 503, 511, 418, 301, 404, 503),
    ),
    mapped(
        "by-header",
        {
            "filter": {"header_filter": {"header": {"name": ":path", "string_match": {"prefix": "/ref"}}}},
            "status_code": 512,
        },
        status=(503, 512, 503, 418, 301, 404, 503),
    ),
    Case(
        id="head",
        hcm={"local_reply_config": {"body_format": text("[%LOCAL_REPLY_BODY%]")}},
        routes=ROUTES,
        send=in_turn(request("HEAD", "/empty"), request("HEAD", "/nowhere"), get("/empty")),
        status=(503, 404, 503),
    ),
    Case(
        id="bad-request",
        hcm={"local_reply_config": {"body_format": text("oops %RESPONSE_CODE% [%LOCAL_REPLY_BODY%]\n")}},
        send=[b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n"],
        status=400,
        ignore=("log.0.downstream_header_bytes_received",),
    ),
    Case(
        id="too-large",
        hcm={"local_reply_config": {"mappers": [{"filter": status_is(431), "status_code": 400}]}},
        send=[get("/", *(f"x-{n}: 1" for n in range(101)))],
        status=400,
        ignore=("log.0.downstream_header_bytes_received",),
    ),
    Case(
        id="no-host",
        hcm={"local_reply_config": {"body_format": text("host? [%LOCAL_REPLY_BODY%]")}},
        send=[b"GET / HTTP/1.1\r\n\r\n"],
        status=400,
    ),
    Case(
        id="old-version",
        hcm={"local_reply_config": {"body_format": text("old [%LOCAL_REPLY_BODY%]")}},
        send=[b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"],
        status=426,
        ignore=("log.0.downstream_header_bytes_received",),
    ),
    Case(
        id="upgrade",
        hcm={"local_reply_config": {"body_format": text("no upgrade [%LOCAL_REPLY_BODY%]")}},
        send=[get("/", "Connection: Upgrade", "Upgrade: websocket")],
        status=403,
    ),
    Case(
        id="upstream-gone",
        hcm={"local_reply_config": {"body_format": text("%RESPONSE_FLAGS%: %LOCAL_REPLY_BODY%")}},
        send=[get("/")],
        upstream=[(AwaitBody(), Close())],
        status=503,
    ),
    Case(
        id="with-route-headers",
        hcm={
            "local_reply_config": {
                "mappers": [{"filter": status_is(503), "headers_to_add": [add_header("x-m", "mapper")]}]
            }
        },
        routes=[
            {**route(cluster="empty"), "response_headers_to_add": [add_header("x-m", "route"), add_header("x-r", "1")]}
        ],
        send=[get("/")],
        status=503,
    ),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("local_replies")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
