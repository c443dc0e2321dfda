"""Redirects that the proxy follows itself: values and how they are compiled.

Envoy: envoy.config.route.v3.InternalRedirectPolicy, and the older `internal_redirect_action` of a route.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from pyproxy.config.view import View

_PREDICATES: Final = "envoy.extensions.internal_redirect"
_PREVIOUS: Final = f"{_PREDICATES}.previous_routes.v3.PreviousRoutesConfig"
_ALLOWED: Final = f"{_PREDICATES}.allow_listed_routes.v3.AllowListedRoutesConfig"
_SAFE: Final = f"{_PREDICATES}.safe_cross_scheme.v3.SafeCrossSchemeConfig"
_STATUSES: Final = frozenset((301, 302, 303, 307, 308))


class RedirectPredicate(Enum):
    """What a route has to be for a redirect to lead to it."""

    PREVIOUS_ROUTES = "previous_routes"
    """No route to which a redirect by this one has led already."""
    ALLOW_LISTED_ROUTES = "allow_listed_routes"
    SAFE_CROSS_SCHEME = "safe_cross_scheme"
    """Not from plain text to TLS."""


@dataclass(frozen=True, slots=True)
class InternalRedirectConfig:
    """Which redirects of an upstream are followed. `copied` are headers of the answer that the next request gets.

    A redirect from http to https or back is followed only with `cross_scheme`.
    """

    most: int = 1
    statuses: frozenset[int] = frozenset((302,))
    predicates: tuple[RedirectPredicate, ...] = ()
    allowed_routes: frozenset[str] = frozenset()
    cross_scheme: bool = False
    copied: tuple[bytes, ...] = ()


def compile_internal_redirect(action: View) -> InternalRedirectConfig | None:
    """That of a `RouteAction`; None where redirects are passed on."""
    view = action.child("internal_redirect_policy")
    if view is None:
        most = action.wrapped("max_internal_redirects")
        if action.enum("internal_redirect_action") != "HANDLE_INTERNAL_REDIRECT":
            return None
        return InternalRedirectConfig(1 if most is None else most)
    action.ignore("internal_redirect_action", "max_internal_redirects")
    most, statuses = view.wrapped("max_internal_redirects"), view.scalars("redirect_response_codes")
    allowed: list[str] = []
    predicates = view.each("predicates", lambda one: _predicate(one, allowed))
    return InternalRedirectConfig(
        most=1 if most is None else most,
        statuses=_STATUSES & set(statuses) if statuses else InternalRedirectConfig().statuses,
        predicates=predicates,
        allowed_routes=frozenset(allowed),
        cross_scheme=bool(view.scalar("allow_cross_scheme_redirect")),
        copied=_copied(view),
    )


def _predicate(view: View, allowed: list[str]) -> RedirectPredicate:
    view.ignore("name")  # extensions are chosen by type
    typed = view.any("typed_config")
    kind = "nothing" if typed is None else typed.type_name
    if typed is not None and kind == _ALLOWED:
        allowed += typed.scalars("allowed_route_names")
        return RedirectPredicate.ALLOW_LISTED_ROUTES
    if kind == _PREVIOUS:
        return RedirectPredicate.PREVIOUS_ROUTES
    if kind == _SAFE:
        return RedirectPredicate.SAFE_CROSS_SCHEME
    view.fail(
        "typed_config",
        f"{kind} is not a predicate of internal redirects that is supported",
        expected=f"{_PREVIOUS}, {_ALLOWED} or {_SAFE}",
    )


def _copied(view: View) -> tuple[bytes, ...]:
    names = [str(name).lower() for name in view.scalars("response_headers_to_copy")]
    for name in names:
        if name.startswith(":") or name == "host":
            view.fail("response_headers_to_copy", f"{name!r} says where a request goes", expected="another header")
    return tuple(name.encode() for name in names)
