"""A request that begins anew: all filters see it again, as if the downstream had sent it so."""

from __future__ import annotations

from pyproxy.http.message import Response


class StartAgain(Exception):
    """Raised by the last filter, when it has made the request another one (Envoy: recreateStream).

    `response` is what led to it; `size` is what goes again of the body, in bytes.
    """

    def __init__(self, response: Response, size: int) -> None:
        super().__init__()
        self.response = response
        self.size = size
