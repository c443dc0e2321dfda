"""Access logs: text and JSON formats, operators, sinks, and the filters that decide whether a line is written."""

from __future__ import annotations

import importlib.util

import pytest

from tests.oracle.bootstrap import TYPE, file_log
from tests.oracle.case import Case, Json, chunked, get, in_turn, post, request, route
from tests.oracle.conftest import Pair
from tests.support.upstream import OK, AwaitBody, Close, Pause, Send, raw, reply

ASKED = get("/some/path?q=1&r=%20", "User-Agent: ua", "X-Log: some value", "X-Two: 1", "X-Two: 2", "X-Empty:")
ANSWER = reply("200 OK", b"hello", "X-Out: out", "Content-Type: text/x", "X-Twice: 1", "X-Twice: 2")
ODD = get(
    "/",
    'x-quote: a"b',
    "x-backslash: a\\b",
    "x-tab: a\tb",
    "x-utf8: caf\u00c3\u00a9",
    "x-latin: caf\u00e9",
    "x-angle: <&>",
)
ROUTES = [
    route("/empty", "empty", name="nobody"),
    route("/refused", "refused"),
    route("/slow"),
    route("/", name="main"),
]


def logged(id: str, log: Json, *requests: bytes, status: int | tuple[int, ...] = 200, **fields: object) -> Case:  # noqa: A002
    """A listener with one more log, whose lines are compared as text."""
    name = f"{id}.log"
    return Case(
        id=id,
        hcm={"access_log": [{**file_log(name), **log} if "filter" in log else file_log(name, **log)]},
        routes=ROUTES,
        send=in_turn(*(requests or (ASKED,))),
        upstream=fields.pop("upstream", [ANSWER]),  # type: ignore[arg-type]
        status=status,
        files=[name],
        **fields,  # type: ignore[arg-type]
    )


def text(id: str, line: str, *requests: bytes, status: int | tuple[int, ...] = 200, **fields: object) -> Case:  # noqa: A002
    log = {"log_format": {"text_format_source": {"inline_string": line + "\n"}}}
    return logged(f"text-{id}", log, *requests, status=status, **fields)


def as_json(id: str, line: Json, *requests: bytes, **fields: object) -> Case:  # noqa: A002
    return logged(f"json-{id}", {"log_format": {"json_format": line}}, *requests, **fields)  # type: ignore[arg-type]


FORMATS = [
    logged("default-format", {}, ASKED, get("/empty"), status=(200, 503)),
    text("plain", "just text, 100%% of it"),
    text(
        "request",
        "%REQ(:METHOD)% %REQ(:path)% %REQ(x-log)% %REQ(X-NONE)% %REQ(x-two)% %REQ(x-empty)%|%REQ(x-none?x-log)%",
    ),
    text("cut", "%REQ(x-log):4%|%REQ(:path):0%|%REQ(x-log):99%|%RESP(x-out):1%|%REQ(x-none?x-log):2%|%PROTOCOL%"),
    text(
        "response", "%RESP(x-out)% %RESP(x-twice)% %RESP(:status)% %RESP(none)% %RESP(none?content-type)% %RESP(date)%"
    ),
    text(
        "codes",
        "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%",
        ASKED,
        get("/empty"),
        get("/refused"),
        status=(200, 503, 503),
    ),
    text(
        "bytes",
        "%BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_TRAILERS_BYTES%",
        post("/", b"hello"),
        chunked("/", b"a", b"b"),
        request("HEAD", "/"),
        status=(200, 200, 200),
        upstream=[ANSWER, ANSWER, raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")],
    ),
    text(
        "path",
        "%PATH% %PATH(NQ)% %PATH(WQ)% %PATH(NQ:ORIG)% %PATH(NQ:PATH)% %PATH(NQ:ORIG_OR_PATH)% "
        "%QUERY_PARAM(q)% %QUERY_PARAM(r)% %QUERY_PARAM(none)%",
    ),
    text(
        "addresses",
        "%UPSTREAM_HOST% %UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_ADDRESS% "
        "%DOWNSTREAM_LOCAL_PORT% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% "
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        ASKED,
        get("/empty"),
        status=(200, 503),
    ),
    text(
        "upstream",
        "%UPSTREAM_CLUSTER% %UPSTREAM_HOST_NAME% %UPSTREAM_REQUEST_ATTEMPT_COUNT% "
        "%UPSTREAM_PROTOCOL% %UPSTREAM_TRANSPORT_FAILURE_REASON% %ROUTE_NAME%",
        ASKED,
        get("/refused"),
        status=(200, 503),
    ),
    text(
        "times",
        "%START_TIME% %START_TIME(%Y)% %START_TIME(%Y/%m/%dT%H:%M:%S%z %3f)% %START_TIME(%s)% "
        "%START_TIME(%s.%3f)% %START_TIME(%s.%6f)% %START_TIME(%H:%M:%S.%9f)% %START_TIME(%b %e)%",
    ),
    text("ids", "%STREAM_ID% %REQ(x-request-id)%"),
    text(
        "nothing-of-it",
        "%REQUESTED_SERVER_NAME% %DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_SUBJECT% %GRPC_STATUS% "
        "%GRPC_STATUS(CAMEL_STRING)% %CONNECTION_TERMINATION_DETAILS% %DYNAMIC_METADATA(a:b)% "
        "%FILTER_STATE(a)% %TRACE_ID% %VIRTUAL_CLUSTER_NAME% %FILTER_CHAIN_NAME%",
    ),
    text("environment", "%ENVIRONMENT(PYPROXY_ORACLE_UNSET)% %HOSTNAME%"),
    text("kind", "%ACCESS_LOG_TYPE% %LOCAL_REPLY_BODY%|", ASKED, get("/empty"), status=(200, 503)),
    text("not-escaped", "%REQ(x-quote)% %REQ(x-backslash)% %REQ(x-tab)% %REQ(x-utf8)% %REQ(x-latin)%", ODD),
    text(
        "bad-request",
        "%REQ(:METHOD)%|%PATH%|%PROTOCOL%|%RESPONSE_CODE%|%REQ(x)%|%RESP(content-type)%",
        b"GET / HTTP/1.1\r\nbad name: 1\r\n\r\n",
        status=400,
    ),
    text(
        "durations",
        "took=%DURATION% took=%REQUEST_DURATION% took=%RESPONSE_DURATION% took=%REQUEST_TX_DURATION% "
        "took=%RESPONSE_TX_DURATION% took=%COMMON_DURATION(DS_RX_BEG:DS_RX_END:ms)% "
        "took=%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)% took=%COMMON_DURATION(DS_TX_BEG:NONE:ms)%",
        ASKED,
        get("/empty"),
        status=(200, 503),
    ),
    logged("text-old-way", {"log_format": {"text_format": "old %REQ(:path)%\n"}}),
    logged("text-oldest-way", {"format": "oldest %REQ(:path)%\n"}),
    logged(
        "text-omit-empty",
        {
            "log_format": {
                "text_format_source": {
                    "inline_string": "[%REQ(x-none)%][%UPSTREAM_TRANSPORT_FAILURE_REASON%]"
                    "[%REQ(x-empty)%][%RESPONSE_FLAGS%]\n"
                },
                "omit_empty_values": True,
            }
        },
    ),
]

JSON = [
    as_json(
        "types",
        {
            "code": "%RESPONSE_CODE%",
            "sent": "%BYTES_SENT%",
            "text": "%REQ(:path)%",
            "none": "%REQ(x-none)%",
            "two": "%RESPONSE_CODE% %BYTES_SENT%",
            "flags": "%RESPONSE_FLAGS%",
            "empty": "%REQ(x-empty)%",
            "start": "%START_TIME%",
            "one-char": "%PROTOCOL%x",
            "zero": "%RESPONSE_TRAILERS_BYTES%",
        },
    ),
    as_json(
        "nested",
        {
            "a": {"z": "%PROTOCOL%", "b": {"c": "%RESPONSE_CODE%", "none": "%REQ(x-none)%"}},
            "list": ["%RESPONSE_CODE%", "x", {"k": "%REQ(:method)%"}, ["%PROTOCOL%"]],
        },
    ),
    as_json(
        "literals",
        {
            "number": 1,
            "fraction": 1.5,
            "yes": True,
            "no": False,
            "nothing": None,
            "text": "plain",
            "percent": "100%%",
            "big": 12345678901,
        },
    ),
    as_json(
        "escapes",
        {
            "quote": "%REQ(x-quote)%",
            "backslash": "%REQ(x-backslash)%",
            "tab": "%REQ(x-tab)%",
            "utf8": "%REQ(x-utf8)%",
            "latin": "%REQ(x-latin)%",
            "angle": "%REQ(x-angle)%",
            "mixed": "<%REQ(x-quote)%>",
        },
        ODD,
    ),
    as_json("key-order", {"zebra": "1", "apple": "2", "Mango": "3", "a b": "4", 'quote"key': "5"}),
    as_json(
        "addresses",
        {
            "up": "%UPSTREAM_HOST%",
            "local": "%DOWNSTREAM_LOCAL_ADDRESS%",
            "port": "%DOWNSTREAM_LOCAL_PORT%",
            "remote": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        },
    ),
    as_json(
        "failures",
        {
            "flags": "%RESPONSE_FLAGS%",
            "details": "%RESPONSE_CODE_DETAILS%",
            "host": "%UPSTREAM_HOST%",
            "cluster": "%UPSTREAM_CLUSTER%",
            "reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
            "route": "%ROUTE_NAME%",
        },
        get("/empty"),
        get("/refused"),
        ASKED,
        status=(503, 503, 200),
    ),
    as_json(
        "metadata", {"all": "%DYNAMIC_METADATA(x)%", "state": "%FILTER_STATE(x)%", "route": "%METADATA(ROUTE:x:y)%"}
    ),
    logged(
        "json-omit-empty",
        {
            "log_format": {
                "json_format": {
                    "none": "%REQ(x-none)%",
                    "two": "%REQ(x-none)%-%PROTOCOL%",
                    "flags": "%RESPONSE_FLAGS%",
                    "nested": {"none": "%REQ(x-none)%"},
                },
                "omit_empty_values": True,
            }
        },
    ),
    logged(
        "json-unsorted",
        {
            "log_format": {
                "json_format": {"zebra": "1", "apple": "%PROTOCOL%"},
                "json_format_options": {"sort_properties": False},
            }
        },
    ),
    logged(
        "json-typed",
        {
            "log_format": {
                "json_format": {"b": "%RESPONSE_CODE%", "a": "%REQ(:method)%"},
                "json_format_options": {"sort_properties": True},
            }
        },
    ),
    logged(
        "json-old-way", {"json_format": {"code": "%RESPONSE_CODE%", "none": "%REQ(x-none)%", "path": "%REQ(:path)%"}}
    ),
    logged("json-old-typed-way", {"typed_json_format": {"code": "%RESPONSE_CODE%", "none": "%REQ(x-none)%"}}),
]


def filtered(id: str, condition: Json) -> Case:  # noqa: A002
    """Six requests that end in six ways; the lines tell which of them pass the filter."""
    line = {"log_format": {"text_format_source": {"inline_string": "%REQ(:path)% %RESPONSE_CODE%\n"}}}
    name = f"filter-{id}.log"
    return Case(
        id=f"filter-{id}",
        hcm={"access_log": [{**file_log(name, **line), "filter": condition}]},
        routes=ROUTES,
        send=in_turn(
            get("/ok"),
            get("/404", "x-log: yes"),
            get("/empty"),
            get("/refused"),
            get("/slow", "x-log: no"),
            post("/gone", b"x", "x-log: yes"),
        ),
        upstream=[
            OK,
            reply("404 X", b""),
            (AwaitBody(), Pause(0.4), Send(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")),
            (AwaitBody(), Close()),
        ],
        status=(200, 404, 503, 503, 500, 503),
        files=[name],
    )


def compare(op: str, value: int, key: str = "oracle.key") -> Json:
    return {"comparison": {"op": op, "value": {"default_value": value, "runtime_key": key}}}


def has(name: str, **matcher: object) -> Json:
    return {"header_filter": {"header": {"name": name, **matcher}}}


HEALTHY: Json = {"not_health_check_filter": {}}
ERROR: Json = {"status_code_filter": compare("GE", 500)}

FILTERS = [
    filtered("status-at-least", {"status_code_filter": compare("GE", 500)}),
    filtered("status-at-most", {"status_code_filter": compare("LE", 404)}),
    filtered("status-equal", {"status_code_filter": compare("EQ", 404)}),
    filtered("status-not-equal", {"status_code_filter": compare("NE", 503)}),
    filtered("duration", {"duration_filter": compare("GE", 300)}),
    filtered("duration-at-most", {"duration_filter": compare("LE", 300)}),
    filtered("not-health-check", HEALTHY),
    filtered("header-present", has("x-log", present_match=True)),
    filtered("header-exact", has("x-log", string_match={"exact": "yes"})),
    filtered("header-inverted", has("x-log", string_match={"exact": "yes"}, invert_match=True)),
    filtered("path-prefix", has(":path", string_match={"prefix": "/e"})),
    filtered("any-flag", {"response_flag_filter": {}}),
    filtered("flags", {"response_flag_filter": {"flags": ["UH", "UC"]}}),
    filtered("flag-not-set", {"response_flag_filter": {"flags": ["DI"]}}),
    filtered("and", {"and_filter": {"filters": [ERROR, has("x-log", present_match=True)]}}),
    filtered(
        "or",
        {
            "or_filter": {
                "filters": [{"status_code_filter": compare("EQ", 404)}, {"response_flag_filter": {"flags": ["UF"]}}]
            }
        },
    ),
    filtered(
        "and-of-or",
        {
            "and_filter": {
                "filters": [HEALTHY, {"or_filter": {"filters": [ERROR, has("x-log", string_match={"exact": "yes"})]}}]
            }
        },
    ),
    filtered("runtime-none", {"runtime_filter": {"runtime_key": "oracle.none", "percent_sampled": {"numerator": 0}}}),
    filtered("runtime-all", {"runtime_filter": {"runtime_key": "oracle.all", "percent_sampled": {"numerator": 100}}}),
]

SINKS = [
    Case(
        id="stdout",
        hcm={
            "access_log": [
                {
                    "name": "envoy.access_loggers.stdout",
                    "typed_config": {
                        "@type": f"{TYPE}.access_loggers.stream.v3.StdoutAccessLog",
                        "log_format": {
                            "text_format_source": {"inline_string": "oracle %REQ(:path)% %RESPONSE_CODE%\n"}
                        },
                    },
                }
            ]
        },
        send=in_turn(get("/1"), get("/2")),
        status=(200, 200),
        files=["stdout"],
    ),
    Case(
        id="two-files",
        hcm={
            "access_log": [
                file_log("first.log", log_format={"text_format_source": {"inline_string": "1 %REQ(:path)%\n"}}),
                file_log("second.log", log_format={"text_format_source": {"inline_string": "2 %REQ(:path)%\n"}}),
            ]
        },
        send=in_turn(get("/1"), get("/2")),
        status=(200, 200),
        files=["first.log", "second.log"],
    ),
    Case(
        id="line-without-end",
        hcm={
            "access_log": [
                file_log("run-on.log", log_format={"text_format_source": {"inline_string": "%REQ(:path)%,"}})
            ]
        },
        send=in_turn(get("/1"), get("/2")),
        status=(200, 200),
        files=["run-on.log"],
    ),
]


def cel(expression: str) -> Json:
    typed = {"@type": f"{TYPE}.access_loggers.filters.cel.v3.ExpressionFilter", "expression": expression}
    return {"extension_filter": {"name": "cel", "typed_config": typed}}


# Of Envoy's own library for expressions, which is an extra here: without it these cases are not there.
EXPRESSIONS = [
    text(
        "cel",
        "%CEL(request.path)% %CEL(response.code)%|%CEL(request.headers['x-log'])% %CEL(request.headers['x-none'])%"
        "|%CEL(request.headers['x-log']):4%|%CEL(response.code == 200)%|%CEL(1.5)%|%CEL(size(request.headers) > 3)%"
        "|%CEL(request.headers['x-two'])%|%CEL(response.headers['x-twice'])%|%CEL(xds.cluster_name)%",
    ),
    as_json("cel", {"code": "%TYPED_CEL(response.code)%", "text": "%CEL(response.code)%", "yes": "%TYPED_CEL(true)%"}),
    *(
        filtered(f"cel-{number}", cel(expression))
        for number, expression in enumerate(
            (
                "response.code >= 400 && request.headers['x-log'] == 'yes'",
                "'x-log' in request.headers",
                "request.path.startsWith('/re') || upstream.address == ''",
                "response.code_details == 'via_upstream' && request.method == 'GET'",
                "has(request.headers.host) && request.total_size > 0 && connection.id >= 0u",
                "1",
                "xds.route_name == 'nobody'",
            )
        )
    ),
]
CASES = FORMATS + JSON + FILTERS + SINKS + (EXPRESSIONS if importlib.util.find_spec("cel_expr_python") else [])


@pytest.mark.oracle
@pytest.mark.xdist_group("access_logs")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
