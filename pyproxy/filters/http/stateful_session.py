"""stateful_session: requests of one session go to the host that answered the first of them.

Envoy: envoy.filters.http.stateful_session, with envoy.http.stateful_session.cookie and .header. Security posture: the
downstream learns the addresses of hosts, and may choose among the hosts of the cluster that its request goes to anyway.
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pyproxy import clock
from pyproxy.clusters.wire_fields import BYTES, VARINT, NotAMessage, fields_of, varint
from pyproxy.config.extensions import CompileContext
from pyproxy.config.route import FilterOverride
from pyproxy.config.view import View
from pyproxy.http.message import Request, Response
from pyproxy.routes.hash_policy import cookie_value, set_cookie
from pyproxy.runtime import Runtime

Next = Callable[[Request], Awaitable[Response]]

_NAME: Final = "envoy.filters.http.stateful_session"
_STATES: Final = "envoy.extensions.http.stateful_session"
_AFTER_PATH: Final = (b"/", b"?", b"#", b"")


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Either `header` or `cookie` names what tells the host; neither: there are no sessions. `strict`: no other host
    will do. `ttl` in seconds, 0 for as long as the downstream likes."""

    header: bytes = b""
    cookie: str = ""
    path: str = ""
    ttl: int = 0
    attributes: tuple[tuple[str, str], ...] = ()
    strict: bool = False

    def build(self, runtime: Runtime) -> StatefulSession:
        del runtime
        return StatefulSession(self)


def compile(view: View, context: CompileContext) -> SessionConfig:  # noqa: A001 (the name that every filter has)
    """A `StatefulSession`."""
    del context
    return _session(view)


def compile_route(view: View, context: CompileContext) -> FilterOverride:
    """A `StatefulSessionPerRoute`."""
    del context
    if view.oneof("override") == "stateful_session":
        return FilterOverride(_session(view.need("stateful_session")))
    return FilterOverride(disabled=bool(view.scalar("disabled")))


def _session(view: View) -> SessionConfig:
    strict, state = bool(view.scalar("strict")), view.child("session_state")
    if state is None:
        return SessionConfig(strict=strict)
    state.ignore("name")
    typed = state.any("typed_config")
    kind = "" if typed is None else typed.type_name
    if typed is not None and kind == f"{_STATES}.header.v3.HeaderBasedSessionState":
        return SessionConfig(header=typed.text("name").lower().encode(), strict=strict)
    if typed is not None and kind == f"{_STATES}.cookie.v3.CookieBasedSessionState":
        cookie = typed.need("cookie")
        return SessionConfig(
            cookie=cookie.text("name"),
            path=cookie.text("path"),
            ttl=int(cookie.seconds("ttl") or 0),
            attributes=tuple((one.text("name"), one.text("value")) for one in cookie.children("attributes")),
            strict=strict,
        )
    state.fail("typed_config", f"{kind or 'nothing'} is not supported", expected="the cookie or the header state")


class StatefulSession:
    """Shared by all requests of a chain."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self._cookie = config.cookie.encode()
        self._path = config.path.encode()

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002 (the name that every filter has)
        override = None if request.route is None else request.route.filter_config(_NAME, request)
        if override is not None and isinstance(override.config, SessionConfig):
            return await _of_route(override.config).keep(request, next)
        return await self.keep(request, next)

    async def keep(self, request: Request, next: Next) -> Response:  # noqa: A002
        """Whatever the route says."""
        config = self._config
        if not config.header and (not config.cookie or not self._concerns(request.path)):
            return await next(request)
        if config.header:
            wanted = _decoded(request.headers.get(config.header) or b"").decode("latin-1")
        else:
            wanted = address_of(_decoded(cookie_value(request.headers, self._cookie)))
        if wanted:
            request.info.override_host, request.info.override_strict = wanted, config.strict
        response = await next(request)
        host = request.info.upstream.host_address
        if host and host != wanted:
            self._tell(response, host)
        return response

    def _concerns(self, path: bytes) -> bool:
        """Whether the cookie is for it (RFC 6265 5.1.4)."""
        own = self._path
        if own in (b"", b"/"):
            return True
        return path.startswith(own) and (own.endswith(b"/") or path[len(own) : len(own) + 1] in _AFTER_PATH)

    def _tell(self, response: Response, host: str) -> None:
        config = self._config
        if config.header:
            response.headers.set(config.header, base64.b64encode(host.encode()))
            return
        expires = int(clock.wall()) + config.ttl if config.ttl else 0
        value = base64.b64encode(session_of(host.encode(), expires))
        made = set_cookie(config.cookie, value, config.ttl, config.path, config.attributes)
        response.headers.add(b"set-cookie", made)


@functools.cache
def _of_route(config: SessionConfig) -> StatefulSession:
    return StatefulSession(config)


def session_of(address: bytes, expires: int) -> bytes:
    """What a cookie holds: a message of the address (1) and when it is over (2), in seconds since the epoch."""
    message = b"\x0a" + varint(len(address)) + address
    return message + (b"\x10" + varint(expires) if expires else b"")


def address_of(session: bytes) -> str:
    """The address in a cookie; empty where there is none, or it is over. It may stand there alone (older Envoys)."""
    address, expires = b"", 0
    try:
        for number, kind, value in fields_of(session):
            if number == 1 and kind == BYTES and isinstance(value, bytes):
                address = value
            elif number == 2 and kind == VARINT and isinstance(value, int):
                expires = value
    except NotAMessage:
        return session.decode("latin-1")
    return "" if expires and clock.wall() > expires else address.decode("latin-1")


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
