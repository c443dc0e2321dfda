"""Access-log lines of another kind than the one at the end of a request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.bootstrap import file_log
from tests.oracle.case import Case, Json, get, in_turn, post
from tests.oracle.conftest import Pair
from tests.support.upstream import AwaitBody, Pause, Send

REDIRECT: Json = {"match": {"prefix": "/"}, "redirect": {"path_redirect": "/2"}}


def of_type(id: str, **condition: object) -> Case:  # noqa: A002
    """A log that takes lines of these types only."""
    line = {"log_format": {"text_format_source": {"inline_string": "%ACCESS_LOG_TYPE% %REQ(:path)%\n"}}}
    log: Json = {**file_log(f"{id}.log", **line), "filter": {"log_type_filter": condition}}
    return Case(
        id=id, hcm={"access_log": [log]}, send=in_turn(get("/1"), get("/2")), status=(200, 200), files=[f"{id}.log"]
    )


FIELDS = (
    "%ACCESS_LOG_TYPE% %REQ(:path)% %REQ(x-request-id)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% "
    "%ROUTE_NAME% %UPSTREAM_CLUSTER% %UPSTREAM_HOST% %PROTOCOL% %BYTES_RECEIVED% %BYTES_SENT% %RESP(server)%\n"
)


def at_the_start(id: str, *send: bytes, status: int, options: Json | None = None, **fields: Any) -> Case:  # noqa: A002
    """A line when the request comes, and one when it is over."""
    line = {"log_format": {"text_format_source": {"inline_string": FIELDS}}}
    hcm = {"access_log": [file_log(f"{id}.log", **line)], **(options or WHEN_IT_COMES)}
    return Case(id=id, hcm=hcm, send=send, status=status, files=[f"{id}.log"], **fields)


WHEN_IT_COMES: Json = {"access_log_options": {"flush_access_log_on_new_request": True}}
IN_PROGRESS: Json = {"access_log_options": {"access_log_flush_interval": "1s"}}
CASES = [
    at_the_start(
        "in-progress",
        get("/1"),
        status=200,
        logs=2,
        options=IN_PROGRESS,
        upstream=[(AwaitBody(), Pause(1.5), Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))],
    ),
    at_the_start(
        "response-in-progress",
        get("/1"),
        status=200,
        logs=2,
        options=IN_PROGRESS,
        upstream=[(AwaitBody(), Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh"), Pause(1.5), Send(b"i"))],
    ),
    at_the_start("start-forwarded", get("/1"), status=200, logs=2),
    at_the_start(
        "start-by-old-field", get("/1"), status=200, logs=2, options={"flush_access_log_on_new_request": True}
    ),
    at_the_start("start-with-body", post("/1", b"hello"), status=200, logs=2),
    at_the_start("start-without-route", get("/1"), status=404, logs=2, routes=[]),
    at_the_start("start-redirect", get("/1"), status=301, logs=2, routes=[REDIRECT]),
    at_the_start("start-refused-upgrade", get("/1", "upgrade: x", "connection: upgrade"), status=403, logs=2),
    at_the_start("start-bad", b"GET / HTTP/1.1\r\nbad name: 1\r\n\r\n", status=400, logs=1),
    Case(
        id="type-in-reply",
        hcm={
            "local_reply_config": {
                "mappers": [
                    {
                        "filter": {"log_type_filter": {"types": ["NotSet"]}},
                        "body_format_override": {"text_format_source": {"inline_string": "%ACCESS_LOG_TYPE%"}},
                    }
                ]
            }
        },
        routes=[],
        send=[get("/")],
        status=404,
    ),
    of_type("ends-only", types=["DownstreamEnd"]),
    of_type("no-ends", types=["DownstreamEnd"], exclude=True),
    Case(
        id="at-the-start-too",
        hcm={
            "access_log": [
                file_log(
                    "start.log",
                    log_format={
                        "text_format_source": {
                            "inline_string": "%ACCESS_LOG_TYPE% %REQ(:path)% %RESPONSE_CODE% %ROUTE_NAME%\n"
                        }
                    },
                )
            ],
            "access_log_options": {"flush_access_log_on_new_request": True},
        },
        send=[get("/1")],
        status=200,
        logs=2,
        files=["start.log"],
    ),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("access_log_types")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
