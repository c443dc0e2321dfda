"""TLS towards the hosts of a cluster: what asyncio is to be told, and the check of who answered."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from pyproxy import openssl
from pyproxy.config.tls import UpstreamTlsConfig
from pyproxy.network.secret_watch import SecretWatch, Tls
from pyproxy.network.transport_sockets.sessions import Sessions
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
        self._config = config
        self._context: openssl.Context | None = None
        self._sessions = Sessions(config.max_sessions)
        if not config.pending:
            self._use(config)
        self._forget: Callable[[], None] | None = None
        source = config.source
        if source is not None:
            self._forget = secrets.follow(source, self._take)

    def close(self) -> None:
        """No more connections: its files need not be watched."""
        if self._forget is not None:
            self._forget()

    def _use(self, config: UpstreamTlsConfig) -> None:
        """Sessions that were begun under another configuration are not resumed under this one."""
        self._context = client_context(config, self._offer(config.common.alpn))
        self._sessions = sessions = Sessions(config.max_sessions)
        if config.max_sessions and openssl.usable():
            openssl.resume_with(self._context, sessions.take, sessions.keep)
        self._config = config

    def _offer(self, configured: tuple[str, ...]) -> tuple[str, ...]:
        """Of what is configured, what can be spoken. HTTP/2 is offered even where nothing is (Envoy)."""
        if "h2" not in self._spoken:
            return tuple(one for one in configured if one != "h2")
        return configured or self._spoken

    def _take(self, made: Tls) -> None:
        """Connections that are open go on as they are."""
        assert isinstance(made, UpstreamTlsConfig)
        self._use(made)

    def options(self, hostname: str, server_name: str = "") -> dict[str, Any]:
        """For `create_connection`. An empty name sends no SNI, which is also what a name gets that is none.
        `server_name` is what a request says (Envoy: auto_sni), and goes first.

        Raises PeerRefused while the certificates have not come.
        """
        if self._context is None:
            raise PeerRefused("Secret is not supplied by SDS")
        return {
            "ssl": self._context,
            "server_hostname": _usable(self._name(hostname, server_name)),
            "ssl_handshake_timeout": _HANDSHAKE_SECONDS,
        }

    def check_of_one(self, hostname: str, server_name: str = "", *, names: tuple[str, ...] = ()) -> TlsCheck:
        """The check of one connection, whose certificate has to be for one of `names`, where there are any."""
        name = self._name(hostname, server_name)
        if not names and self._config.auto_sni_san and name:
            return TlsCheck(self._auto(self._config), self._sessions, (name,))
        return TlsCheck(self._config, self._sessions, names)

    def _auto(self, config: UpstreamTlsConfig) -> UpstreamTlsConfig:
        """The name that was asked for goes in place of those in the configuration (Envoy)."""
        checks = replace(config.common.validation, sans=())
        return replace(config, common=replace(config.common, validation=checks))

    def _name(self, hostname: str, server_name: str) -> str:
        if server_name:
            return server_name
        return hostname if self._config.auto_host_sni and hostname else self._config.sni


class TlsCheck:
    """Whether the upstream of one connection is one that is wanted, and if not, why."""

    def __init__(self, config: UpstreamTlsConfig, sessions: Sessions, names: tuple[str, ...]) -> None:
        self._validation = config.common.validation
        self._sessions = sessions
        self._names = names
        self.refusal = ""
        self.san = False
        """It was because of its names."""

    def __call__(self, tls: Any) -> bool:
        try:
            verify_peer(tls, self._validation, self._names)
        except PeerRefused as error:
            self.refusal, self.san = str(error), error.san
            self._sessions.clear()
            return False
        return True


@functools.lru_cache(1024)
def _usable(name: str) -> str:
    try:
        _plain_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
    except (ValueError, UnicodeError, TypeError):
        return ""
    return name


@functools.cache
def _plain_context() -> ssl.SSLContext:
    """One to try names with."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
