"""The grpc_stats filter: what is counted of calls by which names, and what the log shows of messages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.bootstrap import TYPE, file_log, router
from tests.oracle.case import Case, Json, cluster, get, in_turn, post, request, route, says, with_trailers
from tests.oracle.conftest import RECORD, Pair
from tests.support.upstream import Answer, AwaitBody, Close, Send, raw, reply

LOG = file_log(
    "state.log",
    log_format={
        "text_format_source": {
            "inline_string": (
                "%FILTER_STATE(envoy.filters.http.grpc_stats:PLAIN)% "
                "%FILTER_STATE(envoy.filters.http.grpc_stats:TYPED)% "
                "%FILTER_STATE(envoy.filters.http.grpc_stats)% "
                "%FILTER_STATE(envoy.filters.http.grpc_stats:FIELD:request_message_count)% "
                "%FILTER_STATE(envoy.filters.http.grpc_stats:FIELD:nothing)%\n"
            )
        }
    },
)
GRPC = "content-type: application/grpc"
SOME = {"individual_method_stats_allowlist": {"services": [{"name": "a.S", "method_names": ["M", "N"]}]}}


def counts(id: str, stats: Json, send: Any, *answers: Answer, status: Any = 200, **more: Any) -> Case:  # noqa: A002
    """A case with a cluster of its own, named for it."""
    typed = {"@type": f"{TYPE}.filters.http.grpc_stats.v3.FilterConfig", **stats}
    hcm = {"http_filters": [{"name": "envoy.filters.http.grpc_stats", "typed_config": typed}, router()]}
    if stats.get("emit_filter_state"):
        hcm["access_log"] = [LOG]
        more["files"] = ["state.log"]
    more.setdefault("routes", [route(cluster=f"c-{id}")])
    return Case(
        id=id,
        clusters=[cluster(f"c-{id}", **with_trailers())],
        hcm=hcm,
        send=send,
        upstream=answers or [answer()],
        status=status,
        **more,
    )


def message(size: int) -> bytes:
    return b"\0" + size.to_bytes(4, "big") + b"x" * size


def answer(*messages: bytes, trailers: bytes = b"grpc-status: 0\r\n", head: bytes = b"") -> Answer:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in messages)
    first = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n%btransfer-encoding: chunked\r\n\r\n" % head
    return raw(first + chunks + b"0\r\n" + trailers + b"\r\n")


def call(path: str, *messages: bytes, kind: str = GRPC) -> bytes:
    return post(path, b"".join(messages), kind) if messages else request("POST", path, kind)


ONE, TWO = message(3), message(300)
ALL = {"stats_for_all_methods": True}
STATE = {"emit_filter_state": True, **ALL}
BEGUN = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n8\r\n" + ONE + b"\r\n"
CASES = [
    counts("all", ALL, [call("/a.S/M", ONE)], answer(ONE)),
    counts("all-failed", ALL, [call("/a.S/M", ONE, TWO)], answer(trailers=b"grpc-status: 5\r\n")),
    counts("all-headers", ALL, [call("/a.S/M", ONE)], reply("200 OK", b"", GRPC, "grpc-status: 12")),
    counts("all-odd-status", ALL, [call("/a.S/M", ONE)], reply("200 OK", b"", GRPC, "grpc-status: 99")),
    counts("all-query", ALL, [call("/a.S/M?x=/y", ONE)], answer(ONE)),
    counts("all-odd-path", ALL, in_turn(call("/a.S/M/N", ONE), call("//a.S//M", ONE)), answer(ONE), status=(200, 200)),
    counts("all-short-path", ALL, [call("/M", ONE)], answer(ONE)),
    counts("all-no-messages", ALL, [call("/a.S/M")], answer()),
    counts("all-stream", ALL, [call("/a.S/M", *[ONE] * 5)], answer(ONE, TWO[:3], TWO[3:] + ONE + ONE[:1], ONE[1:])),
    counts("all-nonsense", ALL, [call("/a.S/M", ONE, b"nonsense")], answer(b"nonsense")),
    counts("all-nonsense-late", ALL, [call("/a.S/M", ONE, ONE)], answer(ONE, b"nonsense and more")),
    counts("all-nonsense-at-once", ALL, [call("/a.S/M", b"nonsense and more")], answer(b"\2\0\0\0\0", ONE)),
    counts("all-begun", ALL, [call("/a.S/M", b"\0\0")], answer(b"\0")),
    counts("all-compressed", ALL, [call("/a.S/M", b"\1\0\0\0\0")], answer(b"\x80\0\0\0\0")),
    counts("all-not-grpc", ALL, in_turn(get("/a.S/M"), call("/a.S/M", ONE, kind="x: y")), status=(200, 200)),
    counts("all-proto", ALL, [call("/a.S/M", ONE, kind="content-type: application/grpc+proto")], answer(ONE)),
    counts("all-web", ALL, [call("/a.S/M", ONE, kind="content-type: application/grpc-web")], answer(ONE)),
    counts("all-dots", {**ALL, "replace_dots_in_grpc_service_name": True}, [call("/a.b.S/M", ONE)], answer(ONE)),
    counts("all-other-answer", ALL, [call("/a.S/M", ONE)], reply("200 OK", ONE, "content-type: text/plain")),
    counts("all-bad-answer", ALL, [call("/a.S/M", ONE)], reply("503 X", ONE, GRPC), status=503),
    counts("all-cut", ALL, [call("/a.S/M", ONE)], (AwaitBody(), Send(BEGUN), Close()), closes=True),
    counts("all-gone", ALL, [call("/a.S/M", ONE)], (AwaitBody(), Close())),
    counts("all-direct", ALL, [call("/a.S/M", ONE)], routes=[says("no", {"prefix": "/"})]),
    counts("all-no-route", ALL, [call("/a.S/M", ONE)], routes=[]),
    counts("none", {}, [call("/a.S/M", ONE)], answer(ONE)),
    counts("not-all", {"stats_for_all_methods": False}, [call("/a.S/M", ONE)], answer(ONE)),
    counts(
        "some",
        SOME,
        in_turn(call("/a.S/M", ONE), call("/a.S/O", ONE), call("/b.S/M", ONE), call("/M", ONE)),
        answer(ONE),
        status=(200,) * 4,
    ),
    counts("times", {"enable_upstream_stats": True, **ALL}, [call("/a.S/M", ONE)], answer(ONE)),
    counts("state", STATE, [call("/a.S/M", ONE, ONE)], answer(ONE)),
    counts("state-one-way", STATE, [call("/a.S/M", ONE, ONE)], reply("200 OK", b"", GRPC, "grpc-status: 12")),
    counts("state-none", STATE, [call("/a.S/M")], answer()),
    counts("state-not-grpc", STATE, [get("/")], answer(ONE)),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("grpc_stats")
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)


@pytest.mark.oracle
@pytest.mark.xdist_group("grpc_stats")
@pytest.mark.skipif(RECORD is not None, reason="only Envoy runs when its behaviour is recorded")
def test_counts_as_envoy(pair: Pair) -> None:
    for case in CASES:
        pair.play(case)
    theirs, ours = ({name: value for name, value in one.items() if ".grpc." in name} for one in pair.stats())
    assert len(theirs) > 40
    assert {name: value for name, value in ours.items() if value != "0"} == theirs
