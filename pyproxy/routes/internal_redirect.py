"""Redirects of upstreams that are followed here, instead of being passed on (Envoy: internal redirects).

Pure: changes the request so that it goes where the redirect leads, or tells why that is not to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from pyproxy.config.internal_redirect import InternalRedirectConfig, RedirectPredicate
from pyproxy.http.body import Body
from pyproxy.http.message import Headers, Request, Response
from pyproxy.routes.location import Location, parse_location

ORIGINAL_URL: Final = b"x-envoy-original-url"
_SEE_OTHER: Final = 303
_KEEPS_METHOD: Final = (b"GET", b"HEAD")


class NotFollowed(Enum):
    """Why a redirect is passed on; the values are Envoy's names of the statistics."""

    BAD_LOCATION = "passthrough_internal_redirect_bad_location"
    UNSAFE_SCHEME = "passthrough_internal_redirect_unsafe_scheme"
    TOO_MANY = "passthrough_internal_redirect_too_many_redirects"
    NO_ROUTE = "passthrough_internal_redirect_no_route"
    PREDICATE = "passthrough_internal_redirect_predicate"


@dataclass(slots=True)
class Followed:
    """What a request remembers of the redirects that it has been through. `led_to`: by which route, to which."""

    count: int = 0
    led_to: dict[str, set[str]] = field(default_factory=dict)


class InternalRedirects:
    """What one route says of them."""

    __slots__ = ("_config", "statuses")

    def __init__(self, config: InternalRedirectConfig) -> None:
        self._config = config
        self.statuses = config.statuses

    def follow(
        self, request: Request, response: Response, match: Callable[[Request], Any], body: Body | None
    ) -> NotFollowed | None:
        """Make the request one for the place where the response leads to, with `body` to go there; None where that was
        done, and otherwise nothing has changed. `match` finds the route of a request."""
        config, info = self._config, request.info
        location = parse_location(response.headers.get(b"location") or b"")
        if location is None:
            return NotFollowed.BAD_LOCATION
        if location.scheme != request.scheme and not config.cross_scheme:
            return NotFollowed.UNSAFE_SCHEME
        followed: Followed = info.followed or Followed()
        if followed.count >= config.most:
            return NotFollowed.TOO_MANY
        before = (request.scheme, request.authority, request.path, request.headers)
        request.headers = self._headers(request, response)
        request.scheme, request.authority, request.path = location
        route = match(request)
        refused = NotFollowed.NO_ROUTE
        if route is not None:
            if self._accepts(route.name, info.route_name, followed, before[0], location):
                self._go(request, response.status, b"%s://%s%s" % before[:3], body)
                followed.count += 1
                info.followed = followed
                return None
            refused = NotFollowed.PREDICATE
        request.scheme, request.authority, request.path, request.headers = before
        return refused

    def _headers(self, request: Request, response: Response) -> Headers:
        if not self._config.copied:
            return request.headers.copy()
        headers = request.headers.copy()
        for name in self._config.copied:
            headers.remove(name)
            for value in response.headers.get_all(name):
                headers.add(name, value)
        return headers

    def _accepts(self, name: str, by: str, followed: Followed, scheme: bytes, location: Location) -> bool:
        for predicate in self._config.predicates:
            match predicate:
                case RedirectPredicate.PREVIOUS_ROUTES:
                    led_to = followed.led_to.setdefault(by, set())
                    if name in led_to:
                        return False
                    led_to.add(name)
                case RedirectPredicate.ALLOW_LISTED_ROUTES:
                    if name not in self._config.allowed_routes:
                        return False
                case RedirectPredicate.SAFE_CROSS_SCHEME:
                    if scheme == b"http" and location.scheme == b"https":
                        return False
        return True

    def _go(self, request: Request, status: int, url: bytes, body: Body | None) -> None:
        """After 303 whatever it was becomes a GET without a body (RFC 9110 section 15.4.4)."""
        request.headers.set(ORIGINAL_URL, url)
        request.body = body
        if status == _SEE_OTHER and request.method not in _KEEPS_METHOD:
            request.method = b"GET"
            request.body = None
            request.headers.remove(b"content-length")
