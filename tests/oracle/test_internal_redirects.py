"""Redirects that the proxy follows itself: which, how the next request looks, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.oracle.case import Case, Json, chunked, get, post, request
from tests.oracle.conftest import RECORD, Pair
from tests.support.upstream import OK, Answer, raw, reply

Here = Callable[[str], Answer]
PREDICATES = "type.googleapis.com/envoy.extensions.internal_redirect"


# Envoy's line for a request whose answer was a redirect that was followed tells of the route that comes next, and where
# the redirect was passed on after all it puts the scheme there twice.
NOT_SAID = (
    "upstream.*.to",
    "log.*.response_tx_duration",
    "log.*.response_headers_bytes",
    "log.0.path",
    "log.0.original_path",
    "log.0.route_name",
    "log.0.upstream_cluster*",
    "log.*.scheme",
    "log.*.request_headers_bytes",
)


def to(location: str, status: int = 302, *headers: str) -> Answer:
    return reply(f"{status} X", b"", f"location: {location}", *headers)


def here(path: str, status: int = 302, *headers: str) -> Here:
    """On the domain of the case."""
    return lambda domain: to(f"http://{domain}{path}", status, *headers)


def predicate(name: str, **fields: Any) -> Json:
    words = "".join(part.title() for part in name.split("_"))
    return {"name": name, "typed_config": {"@type": f"{PREDICATES}.{name}.v3.{words}Config", **fields}}


def follows(
    name: str,
    *answers: Answer | Here,
    status: int = 200,
    send: bytes | None = None,
    more: list[Json] | None = None,
    fields: Json | None = None,
    logs: int | None = None,
    hcm: Json | None = None,
    retry: Json | None = None,
    **policy: Any,
) -> Case:
    """The route of `/` follows redirects; `more` are routes that go before it."""
    first: Json = {
        "name": "first",
        "match": {"prefix": "/"},
        "route": {"cluster": "up", "internal_redirect_policy": policy},
    }
    first["route"] |= {"timeout": "0s"} if retry is None else {"timeout": "0s", "retry_policy": retry}
    first |= fields or {}
    return Case(
        id=name,
        routes=[*(more or []), first],
        send=[send or get("/a?b=c")],
        upstream=[one(f"{name}.test") if callable(one) else one for one in answers],
        status=status,
        hcm=hcm or {},
        logs=logs if logs is not None else len(answers) if status == 200 else 1,
        ignore=NOT_SAID,
    )


SECOND: Json = {"name": "second", "match": {"prefix": "/second"}, "route": {"cluster": "up", "timeout": "0s"}}
ANY = "http://elsewhere.test"

CASES = [
    follows("followed", to(f"{ANY}/x"), OK),
    follows("not-303-by-default", to(f"{ANY}/x", 303), status=303),
    follows("not-301-by-default", to(f"{ANY}/x", 301), status=301),
    follows("codes", to(f"{ANY}/x", 307), OK, redirect_response_codes=[301, 307]),
    follows("codes-without-302", to(f"{ANY}/x", 302), status=302, redirect_response_codes=[301, 307]),
    follows("codes-that-are-none", to(f"{ANY}/x", 200), redirect_response_codes=[200]),
    follows("twice", here("/x"), here("/y"), OK, max_internal_redirects=2),
    follows("once-only", here("/x"), here("/y"), status=302, logs=2),
    follows("never", to(f"{ANY}/x"), status=302, max_internal_redirects=0),
    follows("no-location", reply("302 X", b""), status=302),
    follows("empty-location", to(""), status=302),
    follows("relative", to("/x"), status=302),
    follows("other-scheme", to("ftp://x/y"), status=302),
    follows("nonsense", to("http://"), status=302),
    follows("https", to("https://elsewhere.test/x"), status=302),
    follows("https-allowed", to("https://elsewhere.test/x"), OK, allow_cross_scheme_redirect=True),
    follows(
        "https-not-safe",
        to("https://elsewhere.test/x"),
        status=302,
        allow_cross_scheme_redirect=True,
        predicates=[predicate("safe_cross_scheme")],
    ),
    follows("host-only", to("http://elsewhere.test"), OK),
    follows("query-only", to("http://elsewhere.test?x=y"), status=302),
    follows("default-port", to("http://elsewhere.test:80/x"), OK),
    follows("other-port", to("http://elsewhere.test:81/x"), OK),
    follows("port-too-large", to("http://elsewhere.test:70000/x"), status=302),
    follows("fragment", to("http://elsewhere.test/x?y=z#f"), OK),
    follows("capitals", to("HTTP://Elsewhere.TEST/X"), OK),
    follows("dots", to("http://elsewhere.test/x/../y/./z"), OK),
    follows("address", to("http://127.0.0.1:9/x"), OK),
    follows("six", to("http://[::1]:9/x"), OK),
    follows("post", to(f"{ANY}/x", 307), OK, send=post("/", b"hello"), redirect_response_codes=[307]),
    follows("post-302", to(f"{ANY}/x"), OK, send=post("/", b"hello")),
    follows("post-303", to(f"{ANY}/x", 303), OK, send=post("/", b"hello"), redirect_response_codes=[303]),
    follows("chunked", to(f"{ANY}/x"), OK, send=chunked("/", b"hello", b"there")),
    follows(
        "head-303", to(f"{ANY}/x", 303), reply("200 OK", b""), send=request("HEAD", "/"), redirect_response_codes=[303]
    ),
    follows(
        "body-too-large",
        to(f"{ANY}/x"),
        status=302,
        send=post("/", b"hello"),
        fields={"per_request_buffer_limit_bytes": 4},
    ),
    follows("copied", to(f"{ANY}/x", 302, "x-a: 1", "x-a: 2"), OK, response_headers_to_copy=["X-A"]),
    follows(
        "copied-in-place",
        to(f"{ANY}/x", 302, "x-a: 1"),
        OK,
        send=get("/", "x-a: old", "x-b: gone", "x-c: stays"),
        response_headers_to_copy=["x-a", "x-b"],
    ),
    follows("to-another-route", here("/second"), OK, more=[SECOND]),
    follows("to-no-route", here("/second"), status=302, fields={"match": {"path": "/a"}}),
    follows(
        "allowed",
        here("/second"),
        OK,
        more=[SECOND],
        predicates=[predicate("allow_listed_routes", allowed_route_names=["second"])],
    ),
    follows(
        "not-allowed",
        here("/third"),
        status=302,
        more=[SECOND],
        predicates=[predicate("allow_listed_routes", allowed_route_names=["second"])],
    ),
    follows(
        "previous",
        here("/x"),
        here("/y"),
        status=302,
        logs=2,
        max_internal_redirects=5,
        predicates=[predicate("previous_routes")],
    ),
    follows(
        "to-a-direct-response",
        here("/second"),
        more=[{"name": "d", "match": {"prefix": "/second"}, "direct_response": {"status": 200}}],
        logs=2,
    ),
    follows(
        "headers-of-both-routes",
        here("/second"),
        OK,
        more=[{**SECOND, "request_headers_to_add": [{"header": {"key": "x-second", "value": "2"}}]}],
        fields={"request_headers_to_add": [{"header": {"key": "x-first", "value": "1"}}]},
    ),
    follows("long-answer", raw(b"HTTP/1.1 302 X\r\nlocation: http://a.test/x\r\ncontent-length: 9\r\n\r\nabc"), OK),
    follows("forwarded-for", to(f"{ANY}/x"), OK, hcm={"use_remote_address": True}),
    follows(
        "rewritten",
        to(f"{ANY}/x"),
        OK,
        fields={"route": {"cluster": "up", "internal_redirect_policy": {}, "prefix_rewrite": "/new/"}},
    ),
    follows("normalised", here("/x/../second"), OK, more=[SECOND], hcm={"normalize_path": True}),
    follows("with-retries", to(f"{ANY}/x"), OK, send=post("/", b"hello"), retry={"retry_on": "5xx"}),
    follows("after-a-retry", reply("503 X", b""), to(f"{ANY}/x"), OK, logs=2, retry={"retry_on": "5xx"}),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("internal-redirects")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)


@pytest.mark.oracle
@pytest.mark.xdist_group("internal-redirects")
def test_same_counts_as_envoy(pair: Pair) -> None:
    """After all cases, wherever they were played before."""
    if RECORD:
        pytest.skip("Envoy alone is looked at")
    for case in CASES:
        pair.play(case)
    theirs, ours = pair.stats()
    # A location of another kind cannot be, to us; to Envoy it leads to another scheme, or to no route.
    odd = [
        f"http.listener0.passthrough_internal_redirect_{why}" for why in ("bad_location", "no_route", "unsafe_scheme")
    ]
    assert sum(int(ours[name]) for name in odd) == sum(int(theirs[name]) for name in odd)
    about = ("internal_redirect", "downstream_rq_", ".rq_total", ".rq_direct_response", ".upstream_rq_total")
    wanted = {
        name: value
        for name, value in theirs.items()
        if any(part in name for part in about) and not name.startswith(("http.admin", "listener.admin"))
        if name not in odd
    }
    assert len(wanted) > 20
    assert {name: ours.get(name, "0") for name in wanted} == wanted
