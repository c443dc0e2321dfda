"""Virtual hosts that want TLS. Measured with Envoy 1.40."""

from __future__ import annotations

from pyproxy.config.route import (
    ForwardAction,
    RouteConfig,
    RouteMatch,
    RouteTableConfig,
    VirtualHostConfig,
)
from pyproxy.http.message import Headers
from tests.http.requests import make_request
from tests.routes.live import P, make_table, name_of


def test_a_virtual_host_that_requires_tls_redirects_before_it_routes() -> None:
    routes = (RouteConfig(RouteMatch(P, "/a"), ForwardAction("up"), "a"),)
    for require, internal, redirected in [
        ("ALL", False, True),
        ("ALL", True, True),
        ("EXTERNAL_ONLY", False, True),
        ("EXTERNAL_ONLY", True, False),
        ("NONE", False, False),
    ]:
        table = make_table(
            RouteTableConfig(virtual_hosts=(VirtualHostConfig("v", ("*",), routes, require_tls=require),))
        )
        request = make_request("/a?q", (b"x-forwarded-proto", b"http"), authority="tls.h:80")
        request.info.internal = internal
        route = table.match(request)
        assert route is not None
        if not redirected:
            assert route.name == "a"
            continue
        assert route.name == ""
        assert route.answer is not None
        response = route.answer(request)
        assert (response.status, response.headers) == (301, Headers([(b"location", b"https://tls.h:80/a?q")]))
        assert name_of(table, make_request("/a", (b"x-forwarded-proto", b"https"))) == "a"
