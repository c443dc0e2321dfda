"""Redirects (envoy.config.route.v3.RedirectAction) and the responses that a route gives by itself."""

from __future__ import annotations

from collections.abc import Callable

from pyproxy.config.route import DirectResponseAction, PathRewrite, RedirectAction, RouteMatch
from pyproxy.http.body import Body
from pyproxy.http.message import Headers, Request, Response
from pyproxy.routes.header_changes import ResponseChange
from pyproxy.routes.rewrite import NewPath, build_new_path, build_path_change

Answer = Callable[[Request], Response]

_CREATED = 201
_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}


def build_redirect(match: RouteMatch, action: RedirectAction, change: ResponseChange | None, *, tell: bool) -> Answer:
    """A function that makes the response. `change` is what the route's levels do to its headers.

    A rewritten path becomes that of the request too, as for forwarded requests: logs and header formats show it.
    """
    scheme = b"https" if action.https else action.scheme.encode()
    host, port = action.host.encode(), b"%d" % action.port if action.port else b""
    path_of = _build_path(match, action)
    new_path = _build_new_path(match, action)
    rewrite = None if new_path is None else build_path_change(new_path, tell=tell)
    status = action.status

    def answer(request: Request) -> Response:
        new_scheme = scheme or request.scheme
        authority = host or _authority(request, new_scheme, port)
        if port:
            authority = b"%s:%s" % (authority, port)
        location = b"%s://%s%s" % (new_scheme, authority, path_of(request.path))
        if rewrite is not None:
            rewrite(request)
        return _finished(request, Response(status, Headers([(b"location", location)])), b"", change)

    return answer


def build_direct_response(action: DirectResponseAction, change: ResponseChange | None) -> Answer:
    """A function that makes the response. A 201 or a redirect gets a Location, as Envoy's does."""
    status, body = action.status, action.body
    located = status == _CREATED or 300 <= status < 400

    def answer(request: Request) -> Response:
        headers = Headers()
        if located:
            headers.add(b"location", b"%s://%s%s" % (request.scheme, request.authority, request.path))
        return _finished(request, Response(status, headers), body, change)

    return answer


def _finished(request: Request, response: Response, body: bytes, change: ResponseChange | None) -> Response:
    # Envoy changes the headers of a local reply before it says what the body is; a content-type of theirs stays.
    if change is not None:
        change(request, response)
    if body:
        headers = response.headers
        headers.set(b"content-length", b"%d" % len(body))
        if b"content-type" not in headers.index:
            headers.add(b"content-type", b"text/plain")
        response.body = Body.complete(body)
    return response


def _authority(request: Request, new_scheme: bytes, new_port: bytes) -> bytes:
    """The request's own, without its port where another one is given or the old scheme's default would mislead."""
    authority = request.authority
    if authority.startswith(b"["):
        end = authority.rfind(b"]:")
        colon = end + 1 if end >= 0 else -1
    else:
        colon = authority.rfind(b":")
    if colon < 0:
        return authority
    old_scheme = request.headers.get(b"x-forwarded-proto") or request.scheme
    misleading = new_scheme != old_scheme and authority[colon + 1 :] == _DEFAULT_PORTS.get(old_scheme)
    return authority[:colon] if new_port or misleading else authority


def _build_path(match: RouteMatch, action: RedirectAction) -> NewPath:
    """From the path of the request, with its query, to that of the Location."""
    if action.path:
        fixed = _rooted(action.path.encode())
        keep_query = not action.strip_query and b"?" not in fixed

        def fixed_path(path: bytes) -> bytes:
            _, mark, query = path.partition(b"?")
            return fixed + mark + query if keep_query else fixed

        return fixed_path
    change = _build_new_path(match, action)
    strip_query = action.strip_query

    def changed_path(path: bytes) -> bytes:
        if change is not None:
            path = _rooted(change(path) or path)
        return path.partition(b"?")[0] if strip_query else path

    return changed_path


def _build_new_path(match: RouteMatch, action: RedirectAction) -> NewPath | None:
    return build_new_path(match, PathRewrite(prefix=action.prefix_rewrite, regex=action.regex_rewrite))


def _rooted(path: bytes) -> bytes:
    return path if path.startswith(b"/") else b"/" + path
