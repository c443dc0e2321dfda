"""TLS towards the hosts of a cluster: what asyncio is to be told, and the check of who answered."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final

from pyproxy.config.tls import UpstreamTlsConfig
from pyproxy.network.secret_watch import SecretWatch, Tls
from pyproxy.network.transport_sockets.tls import PeerRefused, client_context, verify_peer

_HANDSHAKE_SECONDS: Final = 60.0
"""Only so that asyncio has a bound: the connect timeout of the cluster covers the handshake (as in Envoy)."""


class TlsDialer:
    """One context for all connections of a cluster that are configured alike."""

    def __init__(self, config: UpstreamTlsConfig, secrets: SecretWatch) -> None:
        self._config = config
        self._context: ssl.SSLContext | None = None
        if not config.pending:
            self._use(config)
        self._names: dict[str, str] = {}
        self._forget: Callable[[], None] | None = None
        source = config.source
        if source is not None:
            self._forget = secrets.follow(source, self._take)

    def close(self) -> None:
        """No more connections: its files need not be watched."""
        if self._forget is not None:
            self._forget()

    def _use(self, config: UpstreamTlsConfig) -> None:
        self._context = client_context(config, tuple(one for one in config.common.alpn if one != "h2"))
        self._config = config

    def _take(self, made: Tls) -> None:
        """Connections that are open go on as they are."""
        assert isinstance(made, UpstreamTlsConfig)
        self._use(made)

    def options(self, hostname: str) -> dict[str, Any]:
        """For `create_connection`. An empty name sends no SNI, which is also what a name gets that is none.

        Raises PeerRefused while the certificates have not come.
        """
        if self._context is None:
            raise PeerRefused("Secret is not supplied by SDS")
        name = hostname if self._config.auto_host_sni and hostname else self._config.sni
        return {
            "ssl": self._context,
            "server_hostname": self._usable(self._context, name),
            "ssl_handshake_timeout": _HANDSHAKE_SECONDS,
        }

    def check_of_one(self) -> TlsCheck:
        """The check of one connection."""
        return TlsCheck(self._config)

    def _usable(self, context: ssl.SSLContext, name: str) -> str:
        known = self._names.get(name)
        if known is None:
            known = self._names[name] = name if _is_name(context, name) else ""
        return known


class TlsCheck:
    """Whether the upstream of one connection is one that is wanted, and if not, why."""

    def __init__(self, config: UpstreamTlsConfig) -> None:
        self._validation = config.common.validation
        self.refusal = ""
        self.san = False
        """It was because of its names."""

    def __call__(self, tls: Any) -> bool:
        try:
            verify_peer(tls, self._validation)
        except PeerRefused as error:
            self.refusal, self.san = str(error), error.san
            return False
        return True


def _is_name(context: ssl.SSLContext, name: str) -> bool:
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
    except (ValueError, UnicodeError, TypeError):
        return False
    return True
