"""What routes do, as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyproxy.config.internal_redirect import InternalRedirectConfig
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.retry import RetryPolicyConfig
from pyproxy.config.route import (
    DirectResponseAction,
    ForwardAction,
    HashKind,
    HashPolicyConfig,
    HostRewrite,
    PathKind,
    PathRewrite,
    RedirectAction,
    RegexRewrite,
    RouteMatch,
    WeightedCluster,
)
from pyproxy.config.route_action_compile import compile_direct_response, compile_forward, compile_redirect
from tests.config.compiling import CONTEXT, problems, unread, view

ROUTE = "envoy.config.route.v3.RouteAction"
NOT_YET = {
    "max_grpc_timeout",
    "grpc_timeout_offset",
}
PREFIX = RouteMatch(PathKind.PREFIX, "/")
REWRITE = "type.googleapis.com/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig"


def forward(text: str, match: RouteMatch = PREFIX) -> tuple[ForwardAction, list[str], list[str]]:
    seen = view(ROUTE, text)
    action = compile_forward(seen, CONTEXT, match, validate=True)
    return action, problems(seen), unread(seen)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("cluster: a", ForwardAction("a")),
        ("cluster_header: X-C", ForwardAction(cluster_header=b"x-c")),
        ("{cluster: a, timeout: 0s, idle_timeout: 1s}", ForwardAction("a", timeout=0.0, idle_timeout=1.0)),
        ("{cluster: a, timeout: 0.25s, priority: HIGH}", ForwardAction("a", timeout=0.25, priority_high=True)),
        (
            "{cluster: a, cluster_not_found_response_code: INTERNAL_SERVER_ERROR}",
            ForwardAction("a", cluster_not_found_status=500),
        ),
        ("{cluster: a, prefix_rewrite: /x}", ForwardAction("a", path_rewrite=PathRewrite("/x"))),
        (
            "{cluster: a, regex_rewrite: {pattern: {regex: '(a)'}, substitution: '\\1'}}",
            ForwardAction("a", path_rewrite=PathRewrite(regex=RegexRewrite("(a)", "\\1"))),
        ),
        ("{cluster: a, host_rewrite_literal: h}", ForwardAction("a", host_rewrite=HostRewrite("h"))),
        (
            "{cluster: a, auto_host_rewrite: true, append_x_forwarded_host: true}",
            ForwardAction("a", host_rewrite=HostRewrite(auto=True, append_x_forwarded_host=True)),
        ),
        ("{cluster: a, host_rewrite_header: X-H}", ForwardAction("a", host_rewrite=HostRewrite(header=b"x-h"))),
        (
            """
            cluster: a
            max_stream_duration: {max_stream_duration: 2s, grpc_timeout_header_max: 0s, grpc_timeout_header_offset: 1s}
            """,
            ForwardAction("a", timeout=0.0, max_stream_duration=2.0, grpc_timeout_max=0.0, grpc_timeout_offset=1.0),
        ),
        ("{cluster: a, internal_redirect_policy: {}}", ForwardAction("a", internal_redirects=InternalRedirectConfig())),
        (
            "{cluster: a, internal_redirect_action: HANDLE_INTERNAL_REDIRECT, max_internal_redirects: 3}",
            ForwardAction("a", internal_redirects=InternalRedirectConfig(3)),
        ),
        (
            "{cluster: a, internal_redirect_policy: {max_internal_redirects: 4, redirect_response_codes: [301, 200]}}",
            ForwardAction("a", internal_redirects=InternalRedirectConfig(4, frozenset((301,)))),
        ),
        (
            "{cluster: a, internal_redirect_policy: {allow_cross_scheme_redirect: true}}",
            ForwardAction("a", internal_redirects=InternalRedirectConfig(cross_scheme=True)),
        ),
        (
            "{cluster: a, internal_redirect_policy: {response_headers_to_copy: [X-A]}}",
            ForwardAction("a", internal_redirects=InternalRedirectConfig(copied=(b"x-a",))),
        ),
        ("{cluster: a, retry_policy: {}}", ForwardAction("a", retry=RetryPolicyConfig())),
        (
            "{cluster: a, retry_policy: {per_try_timeout: 0.5s}}",
            ForwardAction("a", retry=RetryPolicyConfig(per_try_timeout=0.5)),
        ),
        (
            """
            weighted_clusters:
              runtime_key_prefix: p
              header_name: X-R
              clusters: [{name: a, weight: 90, host_rewrite_literal: h}, {cluster_header: X-C, weight: 10}]
            """,
            ForwardAction(
                weighted=(WeightedCluster("a", 90, host_rewrite="h"), WeightedCluster("", 10, b"x-c")),
                weighted_runtime_prefix="p",
                weighted_random_header=b"x-r",
            ),
        ),
        # No filter asks for it.
        ("{cluster: a, cors: {}}", ForwardAction("a")),
        (
            "{cluster: a, hash_policy: [{header: {header_name: X}, terminal: true}, {cookie: {name: c, ttl: 9s}}]}",
            ForwardAction(
                "a",
                hash_policies=(
                    HashPolicyConfig(HashKind.HEADER, "x", terminal=True),
                    HashPolicyConfig(HashKind.COOKIE, "c", ttl=9),
                ),
            ),
        ),
        (
            "{cluster: a, upgrade_configs: [{upgrade_type: WebSocket}, {upgrade_type: x, enabled: false}]}",
            ForwardAction("a", upgrades=((b"websocket", True), (b"x", False))),
        ),
        (
            "{cluster: a, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}",
            ForwardAction("a", upgrades=((b"connect", True),), ends_connect=True),
        ),
    ],
)
def test_an_action_becomes_a_value(text: str, value: ForwardAction) -> None:
    action, faults, listed = forward(text)
    assert (action, faults) == (value, [])
    assert set(listed) <= NOT_YET


def test_what_nothing_does_yet_is_listed() -> None:
    text = """
    cluster: a
    retry_policy: {retry_on: 5xx, per_try_timeout: 1s}
    max_grpc_timeout: 1s
    grpc_timeout_offset: 1s
    """
    assert set(forward(text)[2]) == NOT_YET


def test_a_template_rewrite_goes_with_a_template() -> None:
    typed = f"{{'@type': {REWRITE}, path_template_rewrite: '/{{b}}'}}"
    text = f"{{cluster: a, path_rewrite_policy: {{name: x, typed_config: {typed}}}}}"
    action, faults, _ = forward(text, RouteMatch(PathKind.TEMPLATE, "/a/{b}"))
    assert (action.path_rewrite, faults) == (PathRewrite(template="/{b}"), [])
    assert "needs a uri_template matcher" in forward(text)[1][0]
    assert "has no variable 'b'" in forward(text, RouteMatch(PathKind.TEMPLATE, "/a/{c}"))[1][0]


def test_a_mistaken_substitution_is_taken_and_listed() -> None:
    """Envoy takes it, and replaces nothing."""
    action, faults, listed = forward("{cluster: a, regex_rewrite: {pattern: {regex: a}, substitution: '\\1'}}")
    assert faults == []
    assert action.path_rewrite.regex == RegexRewrite("a", "\\1")
    assert listed == ["substitution"]


@pytest.mark.parametrize(
    ("fields", "listed"),
    [
        ("request_mirror_policies: [{cluster: a}]", []),
        ("hedge_policy: {}", []),
        ("upgrade_configs: []", []),
        ("upgrade_configs: [{upgrade_type: x, enabled: false}]", []),
    ],
)
def test_what_is_not_honoured_is_left_unread(fields: str, listed: list[str]) -> None:
    assert forward(f"{{cluster: a, {fields}}}")[1:] == ([], listed)


def test_all_faults_of_an_action_are_found_at_once() -> None:
    text = (
        "{weighted_clusters: {clusters: [{name: c, weight: 1}, {name: a}]}, prefix_rewrite: /x, "
        "internal_redirect_policy: {response_headers_to_copy: [Host]}, "
        "regex_rewrite: {pattern: {regex: '('}}, retry_policy: {retry_back_off: {base_interval: 2s, max_interval: 1s}}}"
    )
    _, faults, _ = forward(text)
    assert [fault.split(":")[0] for fault in faults] == [
        "weighted_clusters.clusters[0].name",
        "weighted_clusters.clusters[1].weight",
        "regex_rewrite",
        "retry_policy.retry_back_off.max_interval",
        "internal_redirect_policy.response_headers_to_copy",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", RedirectAction()),
        (
            """
            https_redirect: true
            host_redirect: h
            port_redirect: 8443
            path_redirect: /x?y
            strip_query: true
            response_code: PERMANENT_REDIRECT
            """,
            RedirectAction(308, https=True, host="h", port=8443, path="/x?y", strip_query=True),
        ),
        ("{scheme_redirect: ftp, prefix_rewrite: /x}", RedirectAction(scheme="ftp", prefix_rewrite="/x")),
        (
            "{regex_rewrite: {pattern: {regex: a}, substitution: b}, response_code: FOUND}",
            RedirectAction(302, regex_rewrite=RegexRewrite("a", "b")),
        ),
    ],
)
def test_a_redirect_becomes_a_value(text: str, value: RedirectAction) -> None:
    seen = view("envoy.config.route.v3.RedirectAction", text)
    assert compile_redirect(seen) == value
    assert unread(seen) == []


def direct(text: str, most: int = 100) -> DirectResponseAction:
    return compile_direct_response(view("envoy.config.route.v3.DirectResponseAction", text), most)


def test_a_body_may_come_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"from a file\xff")
    monkeypatch.setenv("PYPROXY_TEST_BODY", "from outside")
    assert direct("{status: 200}") == DirectResponseAction(200)
    assert direct("{status: 200, body: {inline_string: é}}").body == "é".encode()
    assert direct("{status: 200, body: {inline_bytes: /w==}}").body == b"\xff"
    assert direct(f"{{status: 200, body: {{filename: {file}}}}}").body == b"from a file\xff"
    assert direct("{status: 200, body: {environment_variable: PYPROXY_TEST_BODY}}").body == b"from outside"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{inline_string: abcdef}", "holds 6 bytes, and at most 5 are allowed"),
        ("{filename: /bin/sh}", "at most 5 are allowed"),
        ("{filename: /nope}", "cannot be read: No such file or directory"),
        ("{environment_variable: PYPROXY_NOT_SET}", "the environment has no variable"),
        ("{}", "is empty"),
    ],
)
def test_a_body_that_cannot_be_is_a_fault(body: str, reason: str) -> None:
    with pytest.raises(InvalidConfig, match=reason):
        direct(f"{{status: 200, body: {body}}}", most=5)


def test_values_that_say_nothing_are_shared() -> None:
    """Ten thousand routes do not hold ten thousand empty rewrites."""
    first: Any = forward("cluster: a")[0]
    second: Any = forward("cluster: b")[0]
    assert first.path_rewrite is second.path_rewrite
    assert first.host_rewrite is second.host_rewrite
