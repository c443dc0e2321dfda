"""http_inspector: which HTTP a plain-text connection begins with.

A listener filter. Envoy: envoy.filters.listener.http_inspector. Security posture: trusts no downstream; takes no byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.network.incoming import Incoming
from pyproxy.runtime import Runtime
from pyproxy.telemetry.listener_filter_stats import HttpInspectorStats

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_MOST_LINE: Final = 64 * 1024
_METHOD: Final = re.compile(rb"[A-Za-z]{1,24}( |\Z)")
_LINE: Final = re.compile(rb"[A-Za-z]+ [^ \r\n]+ HTTP/1\.([01])\r?\Z")


@dataclass(frozen=True, slots=True)
class HttpInspectorConfig:
    def build(self, runtime: Runtime) -> HttpInspector:
        return HttpInspector(runtime)


def compile(view: View, context: CompileContext) -> HttpInspectorConfig:  # noqa: A001 (the name that every filter has)
    """An `HttpInspector`, which has nothing to say."""
    del view, context
    return HttpInspectorConfig()


class HttpInspector:
    """Shared by all connections of a listener."""

    def __init__(self, runtime: Runtime) -> None:
        self._stats = HttpInspectorStats(runtime.stats)

    async def __call__(self, incoming: Incoming) -> None:
        """Raises IncomingClosed where the peer goes before it has said enough."""
        if incoming.transport_protocol not in ("", "raw_buffer"):
            return
        stats, seen = self._stats, b""
        while True:
            seen = await incoming.peek(len(seen) + 1, _MOST_LINE)
            if seen.startswith(_PREFACE):
                stats.http2_found.value += 1
                incoming.application_protocols = ("h2c",)
                return
            if _PREFACE.startswith(seen):
                continue
            line, end, _ = seen.partition(b"\n")
            if not end and _METHOD.match(line) is not None and len(seen) < _MOST_LINE:
                continue
            found = _LINE.fullmatch(line) if end else None
            if found is None:
                stats.http_not_found.value += 1
            elif found[1] == b"1":
                stats.http11_found.value += 1
                incoming.application_protocols = ("http/1.1",)
            else:
                stats.http10_found.value += 1
                incoming.application_protocols = ("http/1.0",)
            return
