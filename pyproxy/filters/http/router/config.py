"""The router as a value (envoy.extensions.filters.http.router.v3.Router).

The compile function is in `compile.py` beside it; the live one in `router.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyproxy.filters.http.router.router import Router
    from pyproxy.runtime import Runtime


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """`suppress_envoy_headers` keeps Envoy's own headers off requests and responses.

    `respect_expected_rq_timeout` takes the timeout from a proxy in front (x-envoy-expected-rq-timeout-ms).
    `strict_check_headers` are the x-envoy-* request headers that must be valid: otherwise the answer is 400.
    """

    suppress_envoy_headers: bool = False
    respect_expected_rq_timeout: bool = False
    strict_check_headers: tuple[bytes, ...] = ()

    def build(self, runtime: Runtime) -> Router:
        """The live router; what it needs is imported when the first one is built."""
        from pyproxy.filters.http.router.router import Router

        return Router(self, runtime)
