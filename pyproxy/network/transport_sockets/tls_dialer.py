"""TLS towards the hosts of a cluster: what asyncio is to be told, and the check of who answered."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pyproxy.config.tls import TlsSource, UpstreamTlsConfig
from pyproxy.config.tls_reload import reload_tls
from pyproxy.network.secret_watch import SecretWatch
from pyproxy.network.transport_sockets.tls import PeerRefused, client_context, verify_peer

_HANDSHAKE_SECONDS: Final = 60.0
"""Only so that asyncio has a bound: the connect timeout of the cluster covers the handshake (as in Envoy)."""


class TlsDialer:
    """One context for all connections of a cluster that are configured alike."""

    def __init__(
        self, config: UpstreamTlsConfig, secrets: SecretWatch, spoken: tuple[str, ...] = ("http/1.1",)
    ) -> None:
        """`spoken`: what may be agreed on by ALPN."""
        self._spoken = spoken
        self._use(config)
        self._names: dict[str, str] = {}
        self._forget: Callable[[], None] | None = None
        source = config.source
        if source is not None:
            self._forget = secrets.watch(source.files, partial(self._reload, source))

    def close(self) -> None:
        """No more connections: its files need not be watched."""
        if self._forget is not None:
            self._forget()

    def _use(self, config: UpstreamTlsConfig) -> None:
        self._context = client_context(config, self._offer(config.common.alpn))
        self._config = config

    def _offer(self, configured: tuple[str, ...]) -> tuple[str, ...]:
        """Of what is configured, what can be spoken. HTTP/2 is offered even where nothing is (Envoy)."""
        if "h2" not in self._spoken:
            return tuple(one for one in configured if one != "h2")
        return configured or self._spoken

    def _reload(self, source: TlsSource) -> None:
        """Connections that are open go on as they are. Raises InvalidConfig."""
        made = reload_tls(source)
        assert isinstance(made, UpstreamTlsConfig)
        self._use(made)

    def options(self, hostname: str) -> dict[str, Any]:
        """For `create_connection`. An empty name sends no SNI, which is also what a name gets that is none."""
        name = hostname if self._config.auto_host_sni and hostname else self._config.sni
        return {
            "ssl": self._context,
            "server_hostname": self._usable(name),
            "ssl_handshake_timeout": _HANDSHAKE_SECONDS,
        }

    def check_of_one(self) -> TlsCheck:
        """The check of one connection."""
        return TlsCheck(self._config)

    def _usable(self, name: str) -> str:
        known = self._names.get(name)
        if known is None:
            known = self._names[name] = name if _is_name(self._context, name) else ""
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
