"""A downstream connection of which TLS stands: the check of who came, and what telemetry may know of it."""

from __future__ import annotations

import functools
import hashlib
import re
import ssl
from collections.abc import Callable
from typing import Any, Final

from cryptography import x509

from pyproxy.config.tls import DownstreamTlsConfig
from pyproxy.network.transport_sockets.tls import PeerRefused, alternative_names, refuse_odd_names, verify_peer

_DER: Final = 2
"""_ssl.ENCODING_DER"""
_NOT_ASCII: Final = re.compile(r"[^\x20-\x7e]")


class TlsFacts:
    """What was agreed on, and who the peer is; a certificate is read only if somebody asks."""

    def __init__(self, tls: Any, local_uri_sans: tuple[str, ...] = ()) -> None:
        cipher = tls.cipher()
        self.version: str = tls.version() or ""
        self.cipher: str = cipher[0] if cipher else ""
        self.local_uri_sans = local_uri_sans
        self.xfcc: bytes | None = None
        """The element of x-forwarded-client-cert, once it was made."""
        self._der: bytes | None = tls.getpeercert(True)
        self._tls = tls
        self._remembered: dict[Any, str] = {}

    @property
    def peer_presented(self) -> bool:
        return self._der is not None

    @functools.cached_property
    def peer(self) -> x509.Certificate | None:
        return None if self._der is None else x509.load_der_x509_certificate(self._der)

    def remembered(self, key: Any, read: Callable[[TlsFacts, x509.Certificate], str]) -> str:
        """What `read` makes of the peer's certificate, worked out once; empty where it has none."""
        found = self._remembered.get(key)
        if found is None:
            found = self._remembered[key] = "" if self.peer is None else read(self, self.peer)
        return found

    @staticmethod
    def name_of(name: x509.Name) -> str:
        """A distinguished name as `peer_subject` has it."""
        return _NOT_ASCII.sub(_escape, name.rfc4514_string())

    @functools.cached_property
    def peer_digest(self) -> str:
        """SHA-256 of the certificate, in hexadecimal."""
        return "" if self._der is None else hashlib.sha256(self._der).hexdigest()

    @property
    def peer_pem(self) -> str:
        return "" if self._der is None else ssl.DER_cert_to_PEM_cert(self._der)

    @property
    def peer_chain_pem(self) -> str:
        """The certificate and those that came with it; of a session that was resumed, only the first."""
        return "".join(map(ssl.DER_cert_to_PEM_cert, _chain(self._tls))) or self.peer_pem

    @functools.cached_property
    def peer_subject(self) -> str:
        """Nothing in it ends a line or a quoted string: RFC 2253, with all but ASCII as bytes (Envoy)."""
        return "" if self.peer is None else self.name_of(self.peer.subject)

    @property
    def peer_uri_san(self) -> str:
        return ",".join(self.peer_sans("URI"))

    def peer_sans(self, kind: str) -> list[str]:
        """The subject alternative names of one kind: DNS, URI, EMAIL or IP_ADDRESS."""
        return [] if self.peer is None else [name for one, name in alternative_names(self.peer) if one == kind]


class TlsArrivals:
    """For the connections of one filter chain."""

    def __init__(self, config: DownstreamTlsConfig) -> None:
        self._checks = config.common.validation
        own = x509.load_pem_x509_certificate(config.common.certificates[0].chain)
        self._local_uri_sans = tuple(name for kind, name in alternative_names(own) if kind == "URI")

    def check(self, info: Any, tls: Any, stats: Any) -> bool:
        """Whether the peer is one that is wanted. `info` is the `ConnectionInfo` and `stats` the `TlsStats`, which live
        in rooms above."""
        try:
            verify_peer(tls, self._checks)
            refuse_odd_names(tls)
        except PeerRefused as error:
            info.transport_failure_reason = f"TLS_error:{error}".replace(" ", "_")
            stats.count_refusal(san=error.san)
            return False
        stats.count_handshake(tls)
        info.tls = TlsFacts(tls, self._local_uri_sans)
        return True


def _chain(tls: Any) -> list[bytes]:
    """What the peer has sent, in DER."""
    if hasattr(tls, "get_unverified_chain"):  # CPython 3.13
        return list(tls.get_unverified_chain())
    found = tls._sslobj.get_unverified_chain() or ()  # noqa: SLF001 - nobody else tells
    return [one.public_bytes(_DER) for one in found]


def _escape(odd: re.Match[str]) -> str:
    return "".join(f"\\{byte:02X}" for byte in odd[0].encode())
