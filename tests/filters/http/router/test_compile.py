"""The router as a value."""

from __future__ import annotations

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.filters.http.router.compile import compile as compile_router
from pyproxy.filters.http.router.config import RouterConfig
from tests.config.compiling import CONTEXT, URL, unread, view

ROUTER = "envoy.extensions.filters.http.router.v3.Router"
CODEC = f"{URL}envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"


@pytest.mark.parametrize(
    ("text", "value", "listed"),
    [
        ("{}", RouterConfig(), []),
        (
            "{suppress_envoy_headers: true, respect_expected_rq_timeout: true, dynamic_stats: false}",
            RouterConfig(suppress_envoy_headers=True, respect_expected_rq_timeout=True),
            ["dynamic_stats"],
        ),
        (
            "{strict_check_headers: [x-envoy-max-retries]}",
            RouterConfig(strict_check_headers=(b"x-envoy-max-retries",)),
            [],
        ),
        (f"{{upstream_http_filters: [{{name: c, typed_config: {{'@type': {CODEC}}}}}]}}", RouterConfig(), []),
        ("{start_child_span: true}", RouterConfig(), ["start_child_span"]),
    ],
)
def test_a_router_becomes_a_value(text: str, value: RouterConfig, listed: list[str]) -> None:
    seen = view(ROUTER, text)
    assert compile_router(seen, CONTEXT) == value
    assert sorted(unread(seen)) == listed


def test_other_upstream_filters_are_refused_by_name() -> None:
    seen = view(ROUTER, f"upstream_http_filters: [{{name: x, typed_config: {{'@type': {URL}{ROUTER}}}}}]")
    with pytest.raises(InvalidConfig, match=r"the upstream HTTP filter 'x' of type .*router\.v3\.Router"):
        compile_router(seen, CONTEXT)
