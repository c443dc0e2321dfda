"""Compiles the router: protobuf -> `RouterConfig`."""

from __future__ import annotations

from pyproxy.config.extensions import CompileContext
from pyproxy.config.upstream_http_compile import check_upstream_filters
from pyproxy.config.view import View
from pyproxy.filters.http.router.config import RouterConfig


def compile(view: View, context: CompileContext) -> RouterConfig:  # noqa: A001 (the name that every filter has)
    """A `Router`."""
    check_upstream_filters(view, "upstream_http_filters")
    if view.has("dynamic_stats") and view.message.dynamic_stats.value:  # type: ignore[attr-defined]
        view.ignore("dynamic_stats")
    return RouterConfig(
        suppress_envoy_headers=bool(view.scalar("suppress_envoy_headers")),
        respect_expected_rq_timeout=bool(view.scalar("respect_expected_rq_timeout")),
        strict_check_headers=tuple(str(name).lower().encode() for name in view.scalars("strict_check_headers")),
    )
