"""New paths and new authorities for requests, and the headers that tell the old ones."""

from __future__ import annotations

from collections.abc import Callable

from pyproxy.config.regex import build_rewrite
from pyproxy.config.route import HostRewrite, PathKind, PathRewrite, RouteMatch
from pyproxy.http.inline_headers import INLINE_REQUEST, append
from pyproxy.http.message import Request
from pyproxy.routes.uri_template import UriTemplateRewrite

NewPath = Callable[[bytes], bytes]
RequestChange = Callable[[Request], None]

_ORIGINAL_PATH = b"x-envoy-original-path"
_ORIGINAL_HOST = b"x-envoy-original-host"
_FORWARDED_HOST = b"x-forwarded-host"


def build_new_path(match: RouteMatch, rewrite: PathRewrite) -> NewPath | None:
    """A function from the path with its query to the new one; empty where it stays. None if nothing is rewritten."""
    if rewrite.prefix:
        prefix = rewrite.prefix.encode()
        if match.kind in (PathKind.PREFIX, PathKind.SEPARATED_PREFIX):
            length = len(match.path.encode())
            return lambda path: prefix + path[length:]
        # There is no prefix that was matched: the whole path is replaced.
        return _before_query(lambda path: prefix)
    if rewrite.regex is not None:
        return _before_query(build_rewrite(rewrite.regex.pattern, rewrite.regex.substitution))
    if rewrite.template:
        return _before_query(UriTemplateRewrite(match.path, rewrite.template))
    return None


def _before_query(change: NewPath) -> NewPath:
    def new_path(path: bytes) -> bytes:
        bare, mark, query = path.partition(b"?")
        changed = change(bare)
        return changed + mark + query if changed else b""

    return new_path


def build_path_change(new_path: NewPath, *, tell: bool) -> RequestChange:
    """`tell` adds x-envoy-original-path, even if the new path is the old one."""

    def change(request: Request) -> None:
        old = request.path
        new = new_path(old)
        if not new:
            return
        request.path = new
        request.info.original_path = old
        if tell:
            request.headers.set(_ORIGINAL_PATH, old)

    return change


def build_host_change(rewrite: HostRewrite, *, tell: bool) -> RequestChange | None:
    """For all rewrites but `auto`, which waits until the host is known."""
    forward = rewrite.append_x_forwarded_host
    if rewrite.literal:
        literal = rewrite.literal.encode()
        return lambda request: set_authority(request, literal, forward=forward, tell=tell)
    if rewrite.header:
        header = rewrite.header

        def from_header(request: Request) -> None:
            value = request.headers.get(header)
            if value:
                set_authority(request, value, forward=forward, tell=tell)

        return from_header
    if rewrite.path_regex is not None:
        change = build_rewrite(rewrite.path_regex.pattern, rewrite.path_regex.substitution)

        def from_path(request: Request) -> None:
            value = change(request.path.partition(b"?")[0])
            if value:
                set_authority(request, value, forward=forward, tell=tell)

        return from_path
    return None


def set_authority(request: Request, authority: bytes, *, forward: bool, tell: bool) -> None:
    """A new authority. `tell` keeps the old one in x-envoy-original-host, `forward` adds it to x-forwarded-host unless
    that ends with it."""
    old = request.authority
    if tell:
        request.headers.set(_ORIGINAL_HOST, old)
    if forward and (request.headers.joined(_FORWARDED_HOST) or b"").rpartition(b",")[2] != old:
        append(request.headers, _FORWARDED_HOST, old, INLINE_REQUEST)
    request.authority = authority
