"""What the codec of HTTP/2 counts, by the same names and to the same numbers, on both sides of a proxy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.case import Case, Json, cluster, get, post, route
from tests.oracle.conftest import RECORD, Pair
from tests.support.h2_downstream import Stream
from tests.support.upstream import AwaitBody, AwaitClose

H = (":authority", "$HOST")
GET = ((":method", "GET"), (":scheme", "http"), H, (":path", "/"))
POST = ((":method", "POST"), *GET[1:])
SILENT = (AwaitBody(), AwaitClose())
MESH: Json = {"http2_protocol_options": {"override_stream_error_on_invalid_http_message": True}}


def case(id: str, *send: Any, status: Any = 200, **more: Any) -> Case:  # noqa: A002
    return Case(id=id, h2=True, send=send, status=status, **more)


OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
SPOKEN = {OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}}
# By HTTP/2 to the first listener of the proxy itself, and from there on.
AGAIN = cluster("again", "$PORT_listener0", typed_extension_protocol_options=SPOKEN)
KEPT: Json = {"http2_protocol_options": {"connection_keepalive": {"interval": "100s", "timeout": "10s"}}}


def again(**action: Any) -> Json:
    return route(cluster="again", host_rewrite_literal="nobody.test", **action)


CASES = [
    case("get", get("/")),
    case("post", post("/", b"hello")),
    case("trailers", Stream(POST, b"abc", trailers=(("t", "1"),))),
    case("reset", Stream(POST, b"abc", reset=True), get("/"), upstream=[SILENT], status=(), replies=0, logs=1),
    case("malformed", Stream((*GET, ("connection", "close"))), status=(), replies=0, logs=1, hcm=MESH),
    case("most-requests", get("/"), hcm={"common_http_protocol_options": {"max_requests_per_connection": 1}}),
    case("keepalive", get("/"), hcm=KEPT),
    case("timeout", get("/"), upstream=[SILENT], routes=[route(timeout="0.1s")], status=504),
    case("again", get("/"), clusters=[AGAIN], routes=[again()]),
    case(
        "again-trailers",
        Stream(POST, b"abc", trailers=(("t", "1"),)),
        routes=[again()],
    ),
    case(
        "again-late",
        get("/"),
        upstream=[SILENT],
        routes=[again(timeout="0.1s")],
        status=504,
    ),
]


@pytest.fixture(scope="module")
def counted(pair: Pair) -> list[dict[str, str]]:
    for one in CASES:
        pair.play(one, pinned=False)
    return list(pair.stats())


@pytest.mark.oracle
@pytest.mark.xdist_group("h2_codec_stats")
@pytest.mark.skipif(RECORD is not None, reason="only Envoy runs when its behaviour is recorded")
@pytest.mark.parametrize("scope", ["http2.", "cluster.again.http2."])
def test_counts_as_envoy(scope: str, counted: list[dict[str, str]]) -> None:
    theirs, ours = (
        {name: value for name, value in one.items() if name.startswith(scope) and value != "0"} for one in counted
    )
    assert len(theirs) >= 2
    assert ours == theirs
