"""What a route does to requests and responses. Measured with Envoy 1.40."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pyproxy.config.format import Format, Operator
from pyproxy.config.headers import NO_CHANGES, HeaderAdd, HeaderChanges
from pyproxy.config.matchers import HeaderMatch, StringKind, StringMatch
from pyproxy.config.route import (
    Action,
    DirectResponseAction,
    FilterOverride,
    ForwardAction,
    HostRewrite,
    NonForwardingAction,
    PathKind,
    PathRewrite,
    RedirectAction,
    RegexRewrite,
    RetryPolicyConfig,
    RouteConfig,
    RouteMatch,
    RouteTableConfig,
    VirtualClusterConfig,
    VirtualHostConfig,
    WeightedCluster,
)
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Headers, Pair, Request, Response
from pyproxy.routes.route import Route
from pyproxy.routes.table import RouteTable
from tests.http.requests import make_request

P, E, S, R, T = PathKind.PREFIX, PathKind.EXACT, PathKind.SEPARATED_PREFIX, PathKind.REGEX, PathKind.TEMPLATE
EVERYTHING = RouteMatch(P, "/")


def one_route(
    action: Action,
    match: RouteMatch = EVERYTHING,
    *,
    route: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
    table: dict[str, Any] | None = None,
    clusters: frozenset[str] = frozenset({"up", "other"}),
    values: RuntimeValues | None = None,
    suppress: bool = False,
) -> Route:
    """The live route of a table with only one."""
    routes = (RouteConfig(match, action, "r", **(route or {})),)
    config = RouteTableConfig(virtual_hosts=(VirtualHostConfig("v", ("*",), routes, **(host or {})),), **(table or {}))
    live = RouteTable(
        config, values or RuntimeValues(), random.Random(3), clusters.__contains__, suppress_envoy_headers=suppress
    )
    found = live.match(make_request(_matching(match)))
    assert found is not None
    return found


def _matching(match: RouteMatch) -> str:
    return {R: "/x/", T: "/a/1/2"}.get(match.kind, match.path)


def forwarded(
    action: ForwardAction, path: str, *headers: Pair, match: RouteMatch = EVERYTHING, **fields: Any
) -> Request:
    request = make_request(path, *headers, authority="old.com")
    change = one_route(action, match, **fields).resolve(request).mutate_request
    if change is not None:
        change(request)
    return request


# Paths

PREFIX = PathRewrite(prefix="/n")


def regex(pattern: str, substitution: str) -> PathRewrite:
    return PathRewrite(regex=RegexRewrite(pattern, substitution))


@pytest.mark.parametrize(
    ("match", "rewrite", "path", "new"),
    [
        (RouteMatch(P, "/p"), PREFIX, "/p/abc?q=1", "/n/abc?q=1"),
        (RouteMatch(P, "/p"), PREFIX, "/pbb", "/nbb"),
        (RouteMatch(P, "/p"), PathRewrite(prefix="/"), "/p/abc", "//abc"),
        (RouteMatch(P, "/p"), PathRewrite(prefix="/p"), "/p/abc", "/p/abc"),
        (RouteMatch(P, "/p"), PathRewrite(prefix="/n?z=1"), "/p/abc?q=1", "/n?z=1/abc?q=1"),
        (RouteMatch(P, "/C", case_sensitive=False), PREFIX, "/cAb", "/nAb"),
        (RouteMatch(S, "/s"), PREFIX, "/s/q?q", "/n/q?q"),
        (RouteMatch(S, "/s"), PREFIX, "/s", "/n"),
        (RouteMatch(E, "/e"), PREFIX, "/e?q", "/n?q"),
        (RouteMatch(R, "/x.*"), PREFIX, "/xaq?q=/x/y", "/n?q=/x/y"),
        (
            RouteMatch(P, "/p"),
            PathRewrite(regex=RegexRewrite("/p/([a-z]+)", r"/\1/q\\/\0")),
            "/p/abc?q=1",
            "/abc/q\\//p/abc?q=1",
        ),
        (RouteMatch(P, "/p"), regex("b*", "X"), "/pbb", "X/XpX"),
        (RouteMatch(P, "/p"), regex("q", "X"), "/p/abc?q=1", "/p/abc?q=1"),
        (RouteMatch(T, "/a/{x}/{y=**}"), PathRewrite(template="/n/{y}/{x}!"), "/a/1/2/3?q", "/n/2/3/1!?q"),
        (RouteMatch(T, "/a/{x}/{y=**}"), PathRewrite(template="/lit"), "/a/1/2?q=1", "/lit?q=1"),
        (RouteMatch(T, "/a/{x}/{y=**}"), PathRewrite(template="/{y}"), "/a/1/", "/"),
        (RouteMatch(T, "/a/{x}/*"), regex("a", "A"), "/a/1/z?a", "/A/1/z?a"),
    ],
)
def test_path_rewrites(match: RouteMatch, rewrite: PathRewrite, path: str, new: str) -> None:
    request = forwarded(ForwardAction("up", path_rewrite=rewrite), path, match=match)
    assert request.path == new.encode()
    assert request.info.original_path == path.encode()
    assert request.headers.pairs == [(b"x-envoy-original-path", path.encode())]


def test_a_rewrite_to_nothing_leaves_the_path_alone() -> None:
    request = forwarded(ForwardAction("up", path_rewrite=PathRewrite(regex=RegexRewrite(".*", ""))), "/p?q")
    assert (request.path, request.headers.pairs, request.info.original_path) == (b"/p?q", [], b"")


def test_what_the_request_says_of_its_original_path_is_overwritten_in_place() -> None:
    request = forwarded(
        ForwardAction("up", path_rewrite=PREFIX), "/", (b"x-envoy-original-path", b"/evil"), (b"a", b"b")
    )
    assert request.headers.pairs == [(b"x-envoy-original-path", b"/"), (b"a", b"b")]


# Authorities


@pytest.mark.parametrize(
    ("rewrite", "authority"),
    [
        (HostRewrite(literal="lit.com"), b"lit.com"),
        (HostRewrite(header=b"x-h"), b"hdr.com"),
        (HostRewrite(path_regex=RegexRewrite("^/(.+?)/.*", r"\1")), b"p"),
        (HostRewrite(path_regex=RegexRewrite("b", "Z")), b"/p/aZc"),
    ],
)
def test_host_rewrites(rewrite: HostRewrite, authority: bytes) -> None:
    request = forwarded(ForwardAction("up", host_rewrite=rewrite), "/p/abc?b", (b"x-h", b"hdr.com"), (b"x-h", b"2"))
    assert request.authority == authority
    assert request.headers.pairs[2:] == [(b"x-envoy-original-host", b"old.com")]


@pytest.mark.parametrize("headers", [(), ((b"x-h", b""),)])
def test_no_header_no_host_rewrite(headers: tuple[Pair, ...]) -> None:
    request = forwarded(ForwardAction("up", host_rewrite=HostRewrite(header=b"x-h")), "/", *headers)
    assert (request.authority, tuple(request.headers.pairs)) == (b"old.com", headers)


def test_x_forwarded_host() -> None:
    action = ForwardAction("up", host_rewrite=HostRewrite(literal="lit.com", append_x_forwarded_host=True))
    told = (b"x-envoy-original-host", b"old.com")
    assert forwarded(action, "/").headers.pairs == [told, (b"x-forwarded-host", b"old.com")]
    named = (b"x-forwarded-host", b"first")
    assert forwarded(action, "/", named).headers.pairs == [(b"x-forwarded-host", b"first,old.com"), told]


def test_the_upstream_host_gives_its_name() -> None:
    class Host:
        def __init__(self, hostname: str) -> None:
            self.hostname = hostname

    route = one_route(ForwardAction("up", host_rewrite=HostRewrite(auto=True, append_x_forwarded_host=True)))
    assert route.rewrite_host is not None
    request = make_request(authority="old.com")
    assert route.resolve(request).mutate_request is None
    route.rewrite_host(request, Host(""))
    assert (request.authority, request.headers.pairs) == (b"old.com", [])
    route.rewrite_host(request, Host("localhost"))
    assert request.authority == b"localhost"
    assert request.headers.pairs == [(b"x-envoy-original-host", b"old.com"), (b"x-forwarded-host", b"old.com")]


def test_envoy_headers_are_left_out_when_told_to() -> None:
    action = ForwardAction("up", host_rewrite=HostRewrite(literal="lit.com"), path_rewrite=PREFIX)
    request = forwarded(action, "/a", suppress=True)
    assert (request.authority, request.path, request.headers.pairs) == (b"lit.com", b"/na", [])


# Headers


def level(name: str) -> HeaderChanges:
    value = Format((name,))
    return HeaderChanges(
        (HeaderAdd(b"x-order", value), HeaderAdd(b"x-host", Format((Operator("REQ", ":authority"),)))),
        (),
        (HeaderAdd(b"y-order", value),),
        (),
    )


@pytest.mark.parametrize(("most_specific", "order"), [(False, "wrvt"), (True, "wtvr")])
def test_the_order_of_levels(most_specific: bool, order: str) -> None:
    entry = WeightedCluster("up", 100, headers=level("w"), host_rewrite="w.com")
    action = ForwardAction(weighted=(entry,), host_rewrite=HostRewrite(literal="r.com"), path_rewrite=PREFIX)
    route = one_route(
        action,
        route={"headers": level("r")},
        host={"headers": level("v")},
        table={"headers": level("t"), "most_specific_headers_win": most_specific},
    )
    request = make_request("/a", authority="old.com")
    target = route.resolve(request)
    assert target.entry is entry
    assert target.mutate_request is not None
    assert target.mutate_response is not None
    target.mutate_request(request)
    response = Response(200, Headers())
    target.mutate_response(request, response)
    assert b"".join(request.headers.get_all(b"x-order")) == order.encode()
    assert request.headers.get_all(b"x-host") == [b"old.com", b"w.com", b"w.com", b"w.com"]
    assert b"".join(response.headers.get_all(b"y-order")) == order.encode()
    assert request.authority == b"r.com"
    assert request.headers.pairs[-2:] == [(b"x-envoy-original-host", b"w.com"), (b"x-envoy-original-path", b"/a")]


def test_a_plain_route_has_nothing_to_do() -> None:
    route = one_route(ForwardAction("up"))
    target = route.resolve(make_request())
    assert (target.cluster, target.mutate_request, target.mutate_response) == ("up", None, None)
    assert (route.answer, route.mutate_response, route.rewrite_host, route.virtual_cluster) == (None, None, None, None)
    assert target is route.resolve(make_request())


# Clusters


def test_a_header_names_the_cluster() -> None:
    route = one_route(ForwardAction(cluster_header=b"x-c", cluster_not_found_status=404), route={"headers": level("r")})
    assert route.resolve(make_request("/", (b"x-c", b"up"), (b"x-c", b"other"))).cluster == "up"
    assert route.not_found_status == 404
    for headers in ((), ((b"x-c", b""),), ((b"x-c", b"nope"),), ((b"x-c", b"\xff"),)):
        target = route.resolve(make_request("/", *headers))
        assert target.cluster == ""
        assert target.mutate_response is not None  # the local reply is changed too
    assert one_route(ForwardAction(cluster_header=b":authority")).resolve(make_request(authority="up")).cluster == "up"


def test_a_route_that_forwards_nothing() -> None:
    route = one_route(NonForwardingAction())
    assert (route.resolve(make_request()).cluster, route.not_found_status, route.answer) == ("", 503, None)


def split(**fields: Any) -> ForwardAction:
    return ForwardAction(
        weighted=(WeightedCluster("up", 75), WeightedCluster("no", 0), WeightedCluster("other", 25)), **fields
    )


def test_weights_are_kept_and_a_request_stays_with_its_choice() -> None:
    route = one_route(split())
    requests = [make_request() for _ in range(4000)]
    names = [route.resolve(request).cluster for request in requests]
    assert set(names) == {"up", "other"}
    assert 0.22 < names.count("other") / len(names) < 0.28
    assert [route.resolve(request).cluster for request in requests] == names


@pytest.mark.parametrize(
    ("value", "cluster"),
    [
        ("0", "up"),
        ("74", "up"),
        ("75", "other"),
        ("99", "other"),
        ("100", "up"),
        ("+5", "up"),
        ("18446744073709551615", "up"),
    ],
)
def test_a_header_replaces_chance(value: str, cluster: str) -> None:
    route = one_route(split(weighted_random_header=b"x-rand"))
    for _ in range(10):
        assert route.resolve(make_request("/", (b"x-rand", value.encode()))).cluster == cluster


@pytest.mark.parametrize("value", [b"-1", b"abc", b"", b"18446744073709551616", b"1" * 99, b"1_0"])
def test_a_header_that_is_no_number_leaves_it_to_chance(value: bytes) -> None:
    route = one_route(split(weighted_random_header=b"x-rand"))
    assert len({route.resolve(make_request("/", (b"x-rand", value))).cluster for _ in range(100)}) == 2


def test_runtime_weights() -> None:
    action = split(weighted_runtime_prefix="w")
    values = RuntimeValues(({"w": {"up": 0, "no": 0, "other": 3}},))
    route = one_route(action, values=values)
    assert {route.resolve(make_request()).cluster for _ in range(20)} == {"other"}
    nothing = one_route(action, values=RuntimeValues(({"w": {"up": 0, "no": 0, "other": 0}},)))
    assert nothing.resolve(make_request()).cluster == ""


def test_a_weighted_cluster_may_be_named_by_a_header() -> None:
    route = one_route(ForwardAction(weighted=(WeightedCluster("", 1, header=b"x-c"),)))
    assert route.resolve(make_request("/", (b"x-c", b"other"))).cluster == "other"
    assert route.resolve(make_request()).cluster == ""


# Answers


def location(
    action: RedirectAction, path: str, authority: str = "h", match: RouteMatch = EVERYTHING, scheme: bytes = b"http"
) -> str:
    route = one_route(action, match)
    assert route.answer is not None
    request = make_request(path, (b"x-forwarded-proto", scheme), authority=authority, scheme=scheme)
    response = route.answer(request)
    assert response.status == action.status
    assert [name for name, _ in response.headers.pairs] == [b"location"]
    assert response.body is None
    return response.headers.pairs[0][1].decode()


@pytest.mark.parametrize(
    ("action", "plain", "port_80", "port_8080"),
    [
        (RedirectAction(https=True), "https://h/p/abc?q=1", "https://h/p", "https://h:8080/pabb?b=b"),
        (RedirectAction(scheme="ftp"), "ftp://h/p/abc?q=1", "ftp://h/p", "ftp://h:8080/pabb?b=b"),
        (RedirectAction(scheme="http"), "http://h/p/abc?q=1", "http://h:80/p", "http://h:8080/pabb?b=b"),
        (RedirectAction(host="new.com"), "http://new.com/p/abc?q=1", "http://new.com/p", "http://new.com/pabb?b=b"),
        (RedirectAction(host="n:80", https=True), "https://n:80/p/abc?q=1", "https://n:80/p", "https://n:80/pabb?b=b"),
        (RedirectAction(port=443, https=True), "https://h:443/p/abc?q=1", "https://h:443/p", "https://h:443/pabb?b=b"),
        (RedirectAction(host="n", port=80), "http://n:80/p/abc?q=1", "http://n:80/p", "http://n:80/pabb?b=b"),
        (RedirectAction(path="/new"), "http://h/new?q=1", "http://h:80/new", "http://h:8080/new?b=b"),
        (RedirectAction(path="/new?a=b"), "http://h/new?a=b", "http://h:80/new?a=b", "http://h:8080/new?a=b"),
        (RedirectAction(path="/new?"), "http://h/new?", "http://h:80/new?", "http://h:8080/new?"),
        (RedirectAction(path="/new", strip_query=True), "http://h/new", "http://h:80/new", "http://h:8080/new"),
        (RedirectAction(path="/new#a"), "http://h/new#a?q=1", "http://h:80/new#a", "http://h:8080/new#a?b=b"),
        (RedirectAction(path="new"), "http://hnew?q=1", "http://h:80new", "http://h:8080new?b=b"),
        (RedirectAction(prefix_rewrite="/n"), "http://h/n/abc?q=1", "http://h:80/n", "http://h:8080/nabb?b=b"),
        (
            RedirectAction(prefix_rewrite="/n", strip_query=True),
            "http://h/n/abc",
            "http://h:80/n",
            "http://h:8080/nabb",
        ),
        (
            RedirectAction(regex_rewrite=RegexRewrite("/p/([a-z]+)", r"/\1/q/\0")),
            "http://h/abc/q//p/abc?q=1",
            "http://h:80/p",
            "http://h:8080/pabb?b=b",
        ),
        (
            RedirectAction(regex_rewrite=RegexRewrite("b", "X"), strip_query=True),
            "http://h/p/aXc",
            "http://h:80/p",
            "http://h:8080/paXX",
        ),
        (RedirectAction(strip_query=True), "http://h/p/abc", "http://h:80/p", "http://h:8080/pabb"),
        (RedirectAction(status=308), "http://h/p/abc?q=1", "http://h:80/p", "http://h:8080/pabb?b=b"),
    ],
)
def test_redirects(action: RedirectAction, plain: str, port_80: str, port_8080: str) -> None:
    match = RouteMatch(P, "/p")
    assert location(action, "/p/abc?q=1", match=match) == plain
    assert location(action, "/p", "h:80", match=match) == port_80
    assert location(action, "/pabb?b=b", "h:8080", match=match) == port_8080


def test_redirects_of_other_matches() -> None:
    action = RedirectAction(prefix_rewrite="/n")
    assert location(action, "/s/x?y", match=RouteMatch(S, "/s")) == "http://h/n/x?y"
    assert location(action, "/e?y", match=RouteMatch(E, "/e")) == "http://h/n?y"
    assert location(action, "/xyz?y=/x", match=RouteMatch(R, "/x.*")) == "http://h/n?y=/x"
    assert location(action, "/CaB?x", match=RouteMatch(P, "/C", case_sensitive=False)) == "http://h/naB?x"


def test_redirects_with_odd_authorities() -> None:
    https = RedirectAction(https=True)
    assert location(https, "/", "[::1]:80") == "https://[::1]/"
    assert location(https, "/", "[::1]") == "https://[::1]/"
    assert location(https, "/", "h:443") == "https://h:443/"
    assert location(RedirectAction(scheme="http"), "/", "h:443", scheme=b"https") == "http://h/"
    assert location(RedirectAction(port=1), "/?", "[::1]:80") == "http://[::1]:1/?"


def answered(action: Action, changes: HeaderChanges = NO_CHANGES) -> tuple[int, list[Pair]]:
    route = one_route(action, route={"headers": changes})
    assert route.answer is not None
    assert route.mutate_response is None  # the answer has been changed already
    response = route.answer(make_request("/d?x"))
    return response.status, response.headers.pairs


LENGTH, TEXT = (b"content-length", b"2"), (b"content-type", b"text/plain")


def test_direct_responses() -> None:
    hi = b"hi"
    order = HeaderChanges(response_add=(HeaderAdd(b"y", Format(("1",))),))
    own_type = HeaderChanges(response_add=(HeaderAdd(b"content-type", Format(("a/b",))),))
    here = (b"location", b"http://h/d?x")
    assert answered(DirectResponseAction(200, hi)) == (200, [LENGTH, TEXT])
    assert answered(DirectResponseAction(200)) == (200, [])
    assert answered(DirectResponseAction(200, hi), order) == (200, [(b"y", b"1"), LENGTH, TEXT])
    assert answered(DirectResponseAction(201, hi), order) == (201, [here, (b"y", b"1"), LENGTH, TEXT])
    assert answered(DirectResponseAction(302), order) == (302, [here, (b"y", b"1")])
    assert answered(DirectResponseAction(200, hi), own_type) == (200, [(b"content-type", b"a/b"), LENGTH])
    assert answered(RedirectAction(), order) == (301, [here, (b"y", b"1")])


# What routes know


def test_filter_configs_of_the_most_specific_level_win() -> None:
    def says(*names: str, by: str) -> dict[str, FilterOverride]:
        return {name: FilterOverride(config=by) for name in names}

    entry = WeightedCluster("up", 1, filter_configs=says("a", by="w"))
    route = one_route(
        ForwardAction(weighted=(entry,)),
        route={"filter_configs": says("a", "b", by="r")},
        host={"filter_configs": says("a", "b", "c", by="v")},
        table={"filter_configs": says("a", "b", "c", "d", by="t")},
    )

    def config_of(name: str, request: Request | None = None) -> Any:
        found = route.filter_config(name, request)
        return found and found.config

    assert [config_of(name) for name in "abcde"] == ["r", "r", "v", "t", None]
    assert [config_of(name, make_request()) for name in "ab"] == ["w", "r"]


def test_virtual_clusters() -> None:
    def by(name: bytes, value: str) -> tuple[HeaderMatch, ...]:
        return (HeaderMatch(name, string=StringMatch(StringKind.EXACT, value)),)

    clusters = (VirtualClusterConfig("one", by(b":path", "/one")), VirtualClusterConfig("two", by(b":method", "GET")))
    route = one_route(ForwardAction("up"), host={"virtual_clusters": clusters})
    assert route.virtual_cluster is not None
    for request, name in [
        (make_request("/one"), "one"),
        (make_request("/x"), "two"),
        (make_request("/x", method=b"POST"), ""),
    ]:
        assert route.virtual_cluster(request) == name


def test_numbers_and_names() -> None:
    policy = RetryPolicyConfig(num_retries=2)
    route = one_route(
        ForwardAction("up", timeout=1.5, idle_timeout=0.5, priority_high=True),
        route={"metadata": {"ns": {"k": 1}}},
        host={"retry_policy": policy, "include_attempt_count_in_request": True},
    )
    assert (route.name, route.virtual_host, route.metadata) == ("r", "v", {"ns": {"k": 1}})
    assert (route.timeout, route.timeout_ms, route.idle_timeout, route.max_stream_duration) == (1.5, b"1500", 0.5, None)
    assert (route.timers, route.priority_high, route.retry_policy) == (True, True, policy)
    assert (route.attempt_count_in_request, route.attempt_count_in_response) == (True, False)
    assert not one_route(ForwardAction("up")).timers
