"""original_src: upstreams see requests come from the downstream's own address, that of x-forwarded-for included.

Envoy: envoy.filters.http.original_src. Security posture: the address is as good as what the connection manager
believes of x-forwarded-for. Needs the capability NET_ADMIN, and routes that bring the answers back here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.http.message import Request, Response
from pyproxy.runtime import Runtime


@dataclass(frozen=True, slots=True)
class OriginalSrcConfig:
    """`mark` of the packets to the upstream; 0 for none."""

    mark: int = 0

    def build(self, runtime: Runtime) -> OriginalSrc:
        del runtime
        return OriginalSrc(self)


def compile(view: View, context: CompileContext) -> OriginalSrcConfig:  # noqa: A001 (the name that every filter has)
    """An `OriginalSrc`."""
    del context
    return OriginalSrcConfig(int(view.scalar("mark")))


class OriginalSrc:
    """Shared by all requests."""

    def __init__(self, config: OriginalSrcConfig) -> None:
        self._mark = config.mark

    async def __call__(self, request: Request, next: Callable[[Request], Awaitable[Response]]) -> Response:  # noqa: A002
        info = request.info
        host, port = info.connection.remote
        if port or ":" in host or host[:1].isdigit():
            info.connection = connection = info.connection.seen_as(info.connection.remote)
            connection.come_from(host, self._mark)
        return await next(request)
