"""A copy of a request on its way: nobody waits for it, and its answer is thrown away."""

from __future__ import annotations

import logging
from typing import Any, Final

from pyproxy import clock
from pyproxy.errors import ProxyError
from pyproxy.http.body import Body
from pyproxy.http.drive import Drive
from pyproxy.http.message import Request
from pyproxy.http.stream_info import StreamInfo
from pyproxy.network.local_address import first_address

log = logging.getLogger("pyproxy.router")
_FORWARDED_FOR: Final = b"x-forwarded-for"


class Shadow(Drive):
    """Drives one copy to its end."""

    def on_return(self, value: Any) -> None:
        if value is not None and value.body is not None:
            value.body.detach()

    def on_raise(self, error: BaseException) -> None:
        if not isinstance(error, ProxyError):
            log.error("a copy of a request failed", exc_info=error)


def shadow_request(request: Request, authority: bytes, body: Body | None) -> Request:
    """The copy, as Envoy marks it: it comes from inside, through this proxy."""
    info = StreamInfo(clock.now, clock.now + clock.wall_offset, request.info.connection)
    info.internal = True
    info.subset = request.info.subset
    info.request_end = request.info.request_end
    headers = request.headers.copy()
    headers.set(b"x-envoy-internal", b"true")
    before, ours = headers.joined(_FORWARDED_FOR), first_address().encode()
    headers.set(_FORWARDED_FOR, ours if before is None else before + b"," + ours)
    copied = Request(request.method, request.path, authority, headers, info, body, request.scheme)
    copied.route = request.route
    return copied
