"""Route tables as values."""

from __future__ import annotations

from typing import Any

from pyproxy.config.format import parse_format
from pyproxy.config.headers import AppendAction, HeaderAdd, HeaderChanges
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.matchers import HeaderMatch, StringKind, StringMatch
from pyproxy.config.retry import RetryPolicyConfig
from pyproxy.config.route import (
    DirectResponseAction,
    FilterOverride,
    ForwardAction,
    NonForwardingAction,
    PathKind,
    RouteConfig,
    RouteMatch,
    RouteTableConfig,
    VirtualClusterConfig,
    VirtualHostConfig,
)
from pyproxy.config.route_compile import compile_route_table
from pyproxy.config.tracing import RouteTracing
from pyproxy.config.view import View
from tests.config.compiling import CONTEXT, as_yaml, problems, unread, view

TABLE = "envoy.config.route.v3.RouteConfiguration"

WHOLE = """
name: r
internal_only_headers: [X-Inside]
most_specific_header_mutations_wins: true
ignore_port_in_host_matching: true
vhost_header: X-Host
response_headers_to_remove: [Server]
metadata: {filter_metadata: {ns: {a: 1, b: [x, {c: true}]}}}
virtual_hosts:
- name: v
  domains: ["a.example", "*.b"]
  require_tls: EXTERNAL_ONLY
  include_request_attempt_count: true
  include_attempt_count_in_response: true
  virtual_clusters: [{name: vc, headers: [{name: ":path", string_match: {prefix: /a}}]}]
  retry_policy: {retry_on: 5xx, per_try_timeout: 3s}
  request_headers_to_add:
  - header: {key: X-Who, value: "%REQ(x)%"}
    append_action: ADD_IF_ABSENT
    keep_empty_value: true
  routes:
  - name: first
    match: {path: /a}
    route: {cluster: a}
    decorator: {operation: op, propagate: false}
    stat_prefix: s
    metadata: {filter_metadata: {ns: {x: z}}}
    typed_per_filter_config:
      some.filter: {"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}
  - match: {prefix: /b}
    direct_response: {status: 201, body: {inline_string: hi}}
  - match: {prefix: /c}
    non_forwarding_action: {}
"""


def table(text: str, *, validate: bool = True) -> tuple[RouteTableConfig, View]:
    seen = view(TABLE, text)
    return compile_route_table(seen, CONTEXT, validate=validate), seen


def host(*routes: dict[str, Any], **fields: Any) -> str:
    return as_yaml({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": list(routes), **fields}]})


def faults(text: str, *, validate: bool = True) -> list[str]:
    seen = view(TABLE, text)
    try:
        compile_route_table(seen, CONTEXT, validate=validate)
    except InvalidConfig as error:
        return problems(seen) + [str(fault) for fault in error.faults]
    return problems(seen)


def test_everything_a_table_says_is_in_its_value() -> None:
    values, seen = table(WHOLE)
    assert problems(seen) == []
    assert unread(seen) == []
    assert values == RouteTableConfig(
        name="r",
        virtual_hosts=(
            VirtualHostConfig(
                name="v",
                domains=("a.example", "*.b"),
                routes=(
                    RouteConfig(
                        RouteMatch(PathKind.EXACT, "/a"),
                        ForwardAction(cluster="a"),
                        name="first",
                        filter_configs={"some.filter": FilterOverride(disabled=True)},
                        metadata={"ns": {"x": "z"}},
                        tracing=RouteTracing(operation="op", propagate=False),
                        stat_prefix="s",
                    ),
                    RouteConfig(RouteMatch(PathKind.PREFIX, "/b"), DirectResponseAction(201, b"hi")),
                    RouteConfig(RouteMatch(PathKind.PREFIX, "/c"), NonForwardingAction()),
                ),
                headers=HeaderChanges(
                    request_add=(HeaderAdd(b"x-who", parse_format("%REQ(x)%"), AppendAction.ADD_IF_ABSENT, True),)
                ),
                retry=RetryPolicyConfig(retry_on=frozenset({"5xx"}), per_try_timeout=3.0),
                require_tls="EXTERNAL_ONLY",
                virtual_clusters=(
                    VirtualClusterConfig("vc", (HeaderMatch(b":path", StringMatch(StringKind.PREFIX, "/a")),)),
                ),
                include_attempt_count_in_request=True,
                include_attempt_count_in_response=True,
            ),
        ),
        headers=HeaderChanges(response_remove=(b"server",)),
        most_specific_headers_win=True,
        internal_only_headers=(b"x-inside",),
        ignore_port=True,
        vhost_header=b"x-host",
        metadata={"ns": {"a": 1, "b": ["x", {"c": True}]}},
    )


def test_equal_tables_are_equal_values() -> None:
    first, second = table(WHOLE)[0], table(WHOLE)[0]
    assert first == second
    assert hash(first) == hash(second)
    assert table(WHOLE.replace("201", "202"))[0] != first


def test_every_fault_of_a_table_is_found_at_once() -> None:
    wrong = [
        {"match": {"safe_regex": {"regex": "("}}, "route": {"cluster": "a"}, "request_headers_to_remove": [":path"]},
        {"match": {"prefix": "/"}, "route": {"cluster": "c", "regex_rewrite": {"pattern": {"regex": "["}}}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "x" * 5000}}},
        {"match": {"prefix": "/"}, "route": {"cluster": "b"}},
    ]
    found = faults(host(*wrong, domains=["a", "A"]))
    assert [fault.split(":")[0] for fault in found] == [
        "virtual_hosts[0].routes[0].match.safe_regex.regex",
        "virtual_hosts[0].routes[0].request_headers_to_remove",
        "virtual_hosts[0].routes[1].route.regex_rewrite.pattern.regex",
        "virtual_hosts[0].routes[1].route.cluster",
        "virtual_hosts[0].routes[2].direct_response.body.inline_string",
        "virtual_hosts[0].domains[1]",
    ]


def test_an_unknown_cluster_comes_with_the_nearest_one() -> None:
    seen = view(TABLE, host({"match": {"prefix": "/"}, "route": {"cluster": "aa"}}))
    compile_route_table(seen, CONTEXT, validate=True)
    (fault,) = seen.report.faults
    assert "unknown cluster 'aa'" in str(fault)
    assert fault.nearest == "a"


def test_clusters_are_not_asked_for_where_the_table_says_so() -> None:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "c"}}
    assert faults(host(route), validate=False) == []
    assert faults(host(route) + "validate_clusters: false") == []
    assert len(faults(host(route) + "validate_clusters: true", validate=False)) == 1


def test_mirrors_must_exist() -> None:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "a"}}
    (fault,) = faults(host(route, request_mirror_policies=[{"cluster": "c"}]))
    assert fault.startswith("virtual_hosts[0].request_mirror_policies[0].cluster: unknown shadow cluster 'c'")
    _, seen = table(host(route, request_mirror_policies=[{"cluster": "a"}]))
    assert unread(seen) == []


def test_bodies_are_bounded_by_what_the_table_says() -> None:
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "x" * 10}}}
    assert faults(host(route)) == []
    (fault,) = faults(host(route) + "max_direct_response_body_size_bytes: 9")
    assert "holds 10 bytes, and at most 9 are allowed" in fault


def test_virtual_hosts_from_elsewhere_are_for_tables_from_elsewhere() -> None:
    (fault,) = faults("vhds: {config_source: {ads: {}}}")
    assert "is for routes that come from elsewhere themselves" in fault
