"""Virtual hosts that want TLS: plain HTTP is sent there before any route is looked at (VirtualHost.require_tls)."""

from __future__ import annotations

from collections.abc import Callable

from pyproxy.config.route import PathKind, RedirectAction, RouteConfig, RouteMatch, VirtualHostConfig
from pyproxy.http.message import Headers, Request, Response
from pyproxy.routes.levels import Levels, TableContext
from pyproxy.routes.route import Route

_NAMELESS = VirtualHostConfig("", ())
_EVERYTHING = RouteMatch(PathKind.PREFIX, "/")


def build_tls_redirect(config: VirtualHostConfig, table: TableContext) -> Callable[[Request], Route | None] | None:
    """A function that gives the redirect for requests that need it; None if the virtual host does not ask."""
    if config.require_tls == "NONE":
        return None
    external_only = config.require_tls == "EXTERNAL_ONLY"
    # Neither the table nor the virtual host changes the headers of this answer.
    route = Route(RouteConfig(_EVERYTHING, RedirectAction(https=True)), Levels(_NAMELESS, table.bare()))
    route.answer = redirect_to_tls

    def redirect(request: Request) -> Route | None:
        scheme = request.headers.get(b"x-forwarded-proto") or request.scheme
        if scheme == b"https" or (external_only and request.info.internal):
            return None
        return route

    return redirect


def redirect_to_tls(request: Request) -> Response:
    """Unlike a redirect of a route it keeps the port of the authority, whatever it is."""
    return Response(301, Headers([(b"location", b"https://%s%s" % (request.authority, request.path))]))
