"""tls_inspector: whether a connection begins with TLS, and which server and protocols it asks for.

A listener filter. Envoy: envoy.filters.listener.tls_inspector. Security posture: trusts no downstream; reads at most
`max_client_hello_size` bytes, and takes none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.network.client_hello import ClientHello, NotTls, read_client_hello
from pyproxy.network.incoming import Incoming, IncomingClosed
from pyproxy.runtime import Runtime
from pyproxy.telemetry.listener_filter_stats import TlsInspectorStats

_MOST_HELLO: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class TlsInspectorConfig:
    """`most` bytes of a ClientHello are looked at. `strict` closes connections whose hello cannot be read."""

    most: int = _MOST_HELLO
    strict: bool = False

    def build(self, runtime: Runtime) -> TlsInspector:
        return TlsInspector(self, runtime)


def compile(view: View, context: CompileContext) -> TlsInspectorConfig:  # noqa: A001 (the name that every filter has)
    """A `TlsInspector`. Fingerprints are listed as not honoured where they are wanted."""
    del context
    view.ignore("initial_read_buffer_size")
    for name in ("enable_ja3_fingerprinting", "enable_ja4_fingerprinting"):
        if view.has(name) and not getattr(view.message, name).value:
            view.ignore(name)
    most = view.wrapped("max_client_hello_size")
    return TlsInspectorConfig(
        _MOST_HELLO if most is None else min(most, _MOST_HELLO),
        bool(view.scalar("close_connection_on_client_hello_parsing_errors")),
    )


class TlsInspector:
    """Shared by all connections of a listener."""

    def __init__(self, config: TlsInspectorConfig, runtime: Runtime) -> None:
        self._config = config
        self._stats = TlsInspectorStats(runtime.stats)

    async def __call__(self, incoming: Incoming) -> None:
        """Raises IncomingClosed where the connection is to be closed."""
        stats, most = self._stats, self._config.most
        try:
            hello: ClientHello | int = 1
            seen = b""
            while isinstance(hello, int):
                if hello > most:
                    stats.client_hello_too_large.value += 1
                    raise IncomingClosed
                seen = await incoming.peek(hello, most)
                hello = read_client_hello(seen)
        except NotTls:
            stats.tls_not_found.value += 1
            if self._config.strict:
                raise IncomingClosed from None
            return
        stats.bytes_processed.record(len(seen))
        stats.tls_found.value += 1
        incoming.transport_protocol = "tls"
        incoming.server_name = hello.server_name
        incoming.application_protocols = hello.application_protocols
        (stats.sni_found if hello.server_name else stats.sni_not_found).value += 1
        (stats.alpn_found if hello.application_protocols else stats.alpn_not_found).value += 1
