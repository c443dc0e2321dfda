"""What a route does with a request: redirect, direct response, rewrites, choice of cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.case import Case, Differs, Json, add_header, cluster, get, in_turn, post, request, route
from tests.oracle.conftest import Pair
from tests.support.upstream import reply

REWRITE = "type.googleapis.com/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig"
MATCH = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"


def redirect(id: str, *requests: bytes, code: int = 301, prefix: str = "/", **action: Any) -> Case:  # noqa: A002
    return Case(
        id=f"redirect-{id}",
        vhost={"domains": [f"redirect-{id}.test", f"redirect-{id}.test:*"]},
        routes=[{"match": {"prefix": prefix}, "redirect": action}],
        send=in_turn(*requests),
        status=(code,) * len(requests),
        flags="-",
        details="direct_response",
    )


def direct(id: str, status: int, *requests: bytes, body: Json | None = None, **fields: object) -> Case:  # noqa: A002
    made: Json = {"match": {"prefix": "/"}, "direct_response": {"status": status}, **fields}
    if body is not None:
        made["direct_response"]["body"] = body
    send = requests or (get("/d?q"),)
    return Case(id=f"direct-{id}", routes=[made], send=in_turn(*send), status=(status,) * len(send))


def rewrite(id: str, *requests: bytes, prefix: str = "/", **action: Any) -> Case:  # noqa: A002
    """A route to `up`; what counts is the request that the upstream saw."""
    return Case(
        id=f"rewrite-{id}",
        routes=[route(prefix, **action)],
        send=in_turn(*requests),
        status=(200,) * len(requests),
        details="via_upstream",
    )


def regex(pattern: str, substitution: str) -> Json:
    return {"pattern": {"regex": pattern}, "substitution": substitution}


def weighted(*clusters: Json, **fields: object) -> Json:
    return {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": list(clusters), **fields}}}


NAMED = cluster("named", type="STRICT_DNS", dns_lookup_family="V4_ONLY")
NAMED["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"] = (
    "localhost"
)
LABELLED = cluster("labelled")
LABELLED["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = "label.test"

REDIRECTS = [
    redirect("https", get("/a?b=c"), get("/", host="redirect-https.test"), https_redirect=True),
    redirect("https-drops-port-80", get("/a", host="$HOST:80"), get("/a", host="$HOST:8080"), https_redirect=True),
    redirect("scheme", get("/a"), get("/a", host="$HOST:80"), scheme_redirect="HTTPS"),
    redirect("scheme-to-http", get("/a", host="$HOST:443"), scheme_redirect="http"),
    redirect("host", get("/a?b"), get("/a", host="$HOST:81"), host_redirect="new.test"),
    redirect("host-and-port", get("/a"), host_redirect="new.test", port_redirect=8080),
    redirect("port", get("/a"), get("/a", host="$HOST:81"), port_redirect=443),
    redirect("port-and-https", get("/a"), port_redirect=8443, https_redirect=True),
    redirect("path", get("/a"), get("/a?b=c"), path_redirect="/new"),
    redirect("path-with-query", get("/a"), get("/a?b=c"), path_redirect="/new?x=y"),
    redirect("path-strips-query", get("/a?b=c"), path_redirect="/new", strip_query=True),
    redirect("prefix", get("/old"), get("/old/x?y=z"), get("/oldish"), prefix="/old", prefix_rewrite="/new"),
    redirect("prefix-to-root", get("/old/x"), get("/old"), prefix="/old", prefix_rewrite="/"),
    redirect("regex", get("/a/b?c"), get("/z"), regex_rewrite=regex("^/([a-m]+)/(.*)$", "/\\2/\\1")),
    redirect("strips-query", get("/a?b=c"), strip_query=True, https_redirect=True),
    redirect("302", get("/"), code=302, response_code="FOUND", https_redirect=True),
    redirect("303", get("/"), code=303, response_code="SEE_OTHER", https_redirect=True),
    redirect("307", get("/"), code=307, response_code="TEMPORARY_REDIRECT", https_redirect=True),
    redirect("308", get("/"), code=308, response_code="PERMANENT_REDIRECT", https_redirect=True),
    redirect("head", request("HEAD", "/"), https_redirect=True),
    redirect("post", post("/", b"body"), https_redirect=True),
    redirect("nothing-changed", get("/a?b")),
    redirect("ipv6-host", get("/a", host="$HOST"), host_redirect="[::1]", port_redirect=8080),
    Case(
        id="redirect-with-headers",
        routes=[
            {
                "match": {"prefix": "/"},
                "redirect": {"path_redirect": "/new"},
                "response_headers_to_add": [add_header("x-r", "%RESPONSE_CODE%"), add_header("location", "more")],
                "response_headers_to_remove": ["date"],
            }
        ],
        send=[get("/")],
        status=301,
    ),
]

DIRECT = [
    direct("string", 200, body={"inline_string": "hi"}),
    direct("bytes", 200, body={"inline_bytes": "aGkA/w=="}),
    direct("empty", 200),
    direct("404", 404, body={"inline_string": "nothing"}),
    direct("201", 201, body={"inline_string": "made"}),
    direct("204", 204),
    Case(
        id="direct-204-with-body",
        routes=[{"match": {"prefix": "/"}, "direct_response": {"status": 204, "body": {"inline_string": "x"}}}],
        send=[get("/")],
        status=204,
        differs=Differs(
            "no-content", {"reply.0.start": "HTTP/1.1 204 No Content", "rest": "", "log.0.bytes_sent": "0"}
        ),
    ),
    direct("304", 304),
    direct("302", 302),
    direct("unknown-code", 599, body={"inline_string": "odd"}),
    direct("head", 200, request("HEAD", "/"), body={"inline_string": "hi"}),
    direct("post", 200, post("/", b"body"), body={"inline_string": "hi"}),
    direct("long", 200, body={"inline_string": "x" * 4000}),
    direct(
        "headers",
        200,
        body={"inline_string": "{}"},
        response_headers_to_add=[add_header("content-type", "application/json", "OVERWRITE_IF_EXISTS_OR_ADD")],
    ),
    direct("503", 503, body={"inline_string": "down"}),
]

REWRITES = [
    rewrite("prefix", get("/a"), get("/a/b?c=d"), get("/ab"), prefix="/a", prefix_rewrite="/x/y"),
    rewrite("prefix-to-root", get("/a"), get("/a/b"), get("/a?c"), prefix="/a", prefix_rewrite="/"),
    rewrite("prefix-with-slash", get("/a/"), get("/a/b"), prefix="/a/", prefix_rewrite="/"),
    rewrite("original-path-from-outside", get("/a", "x-envoy-original-path: /evil"), prefix="/a", prefix_rewrite="/x"),
    rewrite("regex", get("/one/two?three"), get("/other"), regex_rewrite=regex("^/(one)/(two)$", "/\\2/\\1/\\0")),
    rewrite("regex-every-match", get("/a/aa/b?a"), regex_rewrite=regex("a", "x")),
    rewrite("host", get("/"), host_rewrite_literal="new.test"),
    rewrite("host-with-port", get("/"), host_rewrite_literal="new.test:81"),
    rewrite("host-from-header", get("/", "x-host: other.test"), get("/"), host_rewrite_header="x-host"),
    rewrite("host-from-empty-header", get("/", "x-host:"), host_rewrite_header="x-host"),
    rewrite("host-from-path", get("/h.test/x?y"), get("/"), host_rewrite_path_regex=regex("^/([^/]+)/.*$", "\\1")),
    rewrite("host-appended", get("/"), host_rewrite_literal="new.test", append_x_forwarded_host=True),
    rewrite(
        "host-appended-to-one",
        get("/", "x-forwarded-host: first.test"),
        get("/", "x-forwarded-host: rewrite-host-appended-to-one.test"),
        host_rewrite_literal="new.test",
        append_x_forwarded_host=True,
    ),
    rewrite("prefix-and-host", get("/a/b"), prefix="/a", prefix_rewrite="/x", host_rewrite_literal="new.test"),
    Case(
        id="rewrite-of-path",
        routes=[{"match": {"path": "/a"}, "route": {"cluster": "up", "prefix_rewrite": "/z"}}],
        send=[get("/a?q")],
        status=200,
    ),
    Case(
        id="rewrite-of-regex-route",
        routes=[{"match": {"safe_regex": {"regex": "/a.*"}}, "route": {"cluster": "up", "prefix_rewrite": "/z"}}],
        send=[get("/abc?q")],
        status=200,
    ),
    Case(
        id="rewrite-any-case",
        routes=[
            {"match": {"prefix": "/Old", "case_sensitive": False}, "route": {"cluster": "up", "prefix_rewrite": "/n"}}
        ],
        send=[get("/oLD/x")],
        status=200,
    ),
    Case(
        id="rewrite-separated",
        routes=[{"match": {"path_separated_prefix": "/a"}, "route": {"cluster": "up", "prefix_rewrite": "/n"}}],
        send=in_turn(get("/a/x"), get("/a"), get("/a?x")),
        status=(200, 200, 200),
    ),
    Case(
        id="rewrite-by-template",
        routes=[
            {
                "match": {
                    "path_match_policy": {
                        "name": "envoy.path.match.uri_template.uri_template_matcher",
                        "typed_config": {"@type": MATCH, "path_template": "/v/{a}/{b=**}"},
                    }
                },
                "route": {
                    "cluster": "up",
                    "path_rewrite_policy": {
                        "name": "envoy.path.rewrite.uri_template.uri_template_rewriter",
                        "typed_config": {"@type": REWRITE, "path_template_rewrite": "/{b}/of/{a}"},
                    },
                },
            }
        ],
        send=in_turn(get("/v/1/x/y?z=1"), get("/v/1/")),
        status=(200, 200),
    ),
    Case(
        id="rewrite-host-auto",
        clusters=[NAMED],
        routes=[route(cluster="named", auto_host_rewrite=True)],
        send=[get("/")],
        status=200,
    ),
    Case(
        id="rewrite-host-auto-static",
        routes=[route(auto_host_rewrite=True)],
        send=[get("/")],
        status=200,
    ),
    Case(
        id="rewrite-host-auto-of-endpoint-name",
        clusters=[LABELLED],
        routes=[route(cluster="labelled", auto_host_rewrite=True, append_x_forwarded_host=True)],
        send=[get("/")],
        status=200,
    ),
]

CLUSTERS = [
    Case(
        id="weights-all-and-nothing",
        routes=[weighted({"name": "up", "weight": 100}, {"name": "other", "weight": 0})],
        send=in_turn(get("/"), get("/")),
        status=(200, 200),
    ),
    Case(
        id="weights-nothing-and-all",
        routes=[weighted({"name": "up", "weight": 0}, {"name": "other", "weight": 1})],
        send=in_turn(get("/"), get("/")),
        status=(200, 200),
    ),
    Case(
        id="weights-unknown-cluster",
        routes=[weighted({"name": "up", "weight": 0}, {"name": "empty", "weight": 7})],
        send=[get("/")],
        status=503,
        flags="UH",
    ),
    Case(
        id="weights-by-header-value",
        routes=[weighted({"name": "up", "weight": 10}, {"name": "other", "weight": 90}, header_name="x-pick")],
        send=in_turn(get("/", "x-pick: 5"), get("/", "x-pick: 15"), get("/", "x-pick: 105")),
        status=(200, 200, 200),
    ),
    Case(
        id="weights-cluster-header",
        routes=[weighted({"cluster_header": "x-c", "weight": 1})],
        send=in_turn(get("/", "x-c: other"), get("/", "x-c: nowhere"), get("/")),
        status=(200, 503, 503),
    ),
    Case(
        id="weights-host-rewrite",
        routes=[weighted({"name": "up", "weight": 1, "host_rewrite_literal": "weighted.test"})],
        send=[get("/")],
        status=200,
    ),
    Case(
        id="cluster-header",
        routes=[{"match": {"prefix": "/"}, "route": {"cluster_header": "x-c"}}],
        send=in_turn(get("/", "x-c: other"), get("/", "x-c: up"), get("/", "x-c: up", "x-c: other")),
        status=(200, 200, 200),
    ),
    Case(
        id="cluster-header-missing",
        routes=[{"match": {"prefix": "/"}, "route": {"cluster_header": "x-c"}}],
        send=[get("/")],
        status=503,
        flags="NC",
        details="cluster_not_found",
    ),
    Case(
        id="cluster-header-unknown",
        routes=[{"match": {"prefix": "/"}, "route": {"cluster_header": "x-c"}}],
        send=in_turn(get("/", "x-c: nowhere"), get("/", "x-c:")),
        status=(503, 503),
        flags="NC",
        details="cluster_not_found",
    ),
    Case(
        id="cluster-header-unknown-404",
        routes=[
            {
                "match": {"prefix": "/"},
                "route": {"cluster_header": "x-c", "cluster_not_found_response_code": "NOT_FOUND"},
            }
        ],
        send=[get("/", "x-c: nowhere")],
        status=404,
        flags="NC",
    ),
    Case(
        id="cluster-with-metadata-name",
        clusters=[cluster("long-name", alt_stat_name="short")],
        routes=[route(cluster="long-name", name="r")],
        send=[get("/")],
        status=200,
    ),
    Case(
        id="route-to-other",
        routes=[route("/o", "other"), route("/")],
        send=in_turn(get("/o"), get("/x")),
        upstream=[reply("200 OK", b"one"), reply("201 Created", b"two")],
        status=(200, 200),
    ),
]

CASES = REDIRECTS + DIRECT + REWRITES + CLUSTERS


@pytest.mark.oracle
@pytest.mark.xdist_group("route_actions")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
