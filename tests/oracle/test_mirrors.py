"""Copies of requests for other clusters: what they look like, and that nothing waits for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.case import Case, chunked, get, post, route
from tests.oracle.conftest import Pair
from tests.support.downstream import Wait
from tests.support.upstream import OK, Answer, AwaitBody, Close, reply


def mirrored(name: str, *policies: Any, send: Any = None, upstream: Any = (OK,), **fields: Any) -> Case:
    return Case(
        id=name,
        routes=[{**route(request_mirror_policies=list(policies), **fields.pop("action", {})), **fields}],
        send=[*(send or [get("/a?b=c", "x-a: 1")]), Wait(0.15)],
        upstream=upstream,
        status=200,
    )


GONE: Answer = (AwaitBody(), Close())
CASES = [
    mirrored("mirror", {"cluster": "other"}),
    mirrored("no-suffix", {"cluster": "other", "disable_shadow_host_suffix_append": True}),
    mirrored("unknown-cluster", {"cluster_header": "x-none"}),
    mirrored("by-header", {"cluster_header": "x-where"}, send=[get("/", "x-where: other")]),
    mirrored("never", {"cluster": "other", "runtime_fraction": {"default_value": {"numerator": 0}}}),
    mirrored("always", {"cluster": "other", "runtime_fraction": {"default_value": {"numerator": 100}}}),
    mirrored("post", {"cluster": "other"}, send=[post("/", b"hello")]),
    mirrored("chunked", {"cluster": "other"}, send=[chunked("/", b"hello", b"there")]),
    mirrored("too-large", {"cluster": "other"}, send=[post("/", b"hello")], per_request_buffer_limit_bytes=4),
    mirrored("to-a-cluster-that-fails", {"cluster": "refused"}),
    mirrored(
        "beside-retries",
        {"cluster": "other"},
        upstream=(reply("503 X", b""), OK),
        action={"retry_policy": {"retry_on": "5xx"}, "timeout": "0s"},
    ),
    mirrored(
        "after-changes",
        {"cluster": "other"},
        action={"prefix_rewrite": "/new", "host_rewrite_literal": "h.test"},
        request_headers_to_add=[{"header": {"key": "x-added", "value": "1"}}],
    ),
    Case(
        id="of-the-virtual-host",
        routes=[route()],
        vhost={"request_mirror_policies": [{"cluster": "other"}]},
        send=[get("/"), Wait(0.15)],
        status=200,
    ),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("mirrors")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
