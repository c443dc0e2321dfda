"""original_src: upstreams see connections come from the downstream's own address.

A listener filter. Envoy: envoy.filters.listener.original_src. Security posture: behind proxy_protocol the
address is what that believes. Needs the capability NET_ADMIN, and routes that bring the answers back here.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.network.incoming import Incoming
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
    """Shared by all connections of a listener."""

    def __init__(self, config: OriginalSrcConfig) -> None:
        self._config = config

    async def __call__(self, incoming: Incoming) -> None:
        host, port = incoming.source
        if port:  # else it is a path
            incoming.upstream_source = (host, self._config.mark)
