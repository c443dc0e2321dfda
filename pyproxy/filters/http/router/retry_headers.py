"""What a request may say of its own retries (Envoy: router filter, x-envoy-retry-on and its like).

Security posture: from outside these headers do not come here, the connection manager takes them away.
"""

from __future__ import annotations

from typing import Final

from pyproxy.filters.http.router.strict_headers import integer
from pyproxy.http.message import Headers
from pyproxy.routes.retry import RetryPolicy

_ON: Final = b"x-envoy-retry-on"
_GRPC_ON: Final = b"x-envoy-retry-grpc-on"
_MOST: Final = b"x-envoy-max-retries"
_NAMES: Final = b"x-envoy-retriable-header-names"
_CODES: Final = b"x-envoy-retriable-status-codes"

ABOUT_RETRIES: Final = frozenset((_ON, _GRPC_ON, _MOST, _NAMES, _CODES, b"x-envoy-hedge-on-per-try-timeout"))


def retry_asked(headers: Headers, base: RetryPolicy) -> RetryPolicy | None:
    """The policy of a route with what a request adds to it; None where neither asks for anything."""
    on, grpc_on = headers.joined(_ON), headers.joined(_GRPC_ON)
    if on is None and grpc_on is None and not base.on:
        return None
    return base.with_headers(
        on or b"",
        grpc_on or b"",
        headers.joined(_CODES) or b"",
        headers.joined(_NAMES) or b"",
        integer(headers.index.get(_MOST)),
    )
