"""TLS as values, for either side. Envoy: envoy.extensions.transport_sockets.tls.v3.

`network.transport_sockets` builds from them. The compile functions are in `config.tls_compile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pyproxy.config.matchers import StringMatch

if TYPE_CHECKING:
    from pyproxy.config.config_source import ConfigSourceConfig

INLINE: Final = "<inline>"


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """A certificate with its chain, and its private key; both PEM, and the key without a password."""

    chain: bytes
    private_key: bytes = field(repr=False)
    path: str = INLINE
    """Where the chain stands."""


@dataclass(frozen=True, slots=True)
class SanMatch:
    """A `SubjectAltNameMatcher`. `kind` is DNS, URI, EMAIL, IP_ADDRESS, or empty for any of them."""

    kind: str
    match: StringMatch


@dataclass(frozen=True, slots=True)
class PeerValidation:
    """What the certificate of the peer has to be (`CertificateValidationContext`). Pins are SHA-256 sums."""

    trusted_ca: str = ""
    trusted_ca_path: str = INLINE
    crl: str = ""
    only_leaf_crl: bool = False
    accept_untrusted: bool = False
    sans: tuple[SanMatch, ...] = ()
    spki_pins: frozenset[bytes] = frozenset()
    certificate_pins: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """What both sides have in common (`CommonTlsContext`). Versions are `ssl.TLSVersion`; 0 means the default."""

    certificates: tuple[TlsCertificate, ...] = ()
    validation: PeerValidation = PeerValidation()
    min_version: int = 0
    max_version: int = 0
    ciphers: str = ""
    curve: str = ""
    alpn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A secret that comes from elsewhere (`SdsSecretConfig`). `slot` is its name within this process."""

    source: ConfigSourceConfig
    name: str
    slot: str


@dataclass(frozen=True, slots=True)
class TlsSource:
    """Where a context came from, so that it can be made again when its files or secrets change. `spec` is the
    message."""

    type_name: str
    spec: bytes = field(repr=False)
    files: tuple[str, ...] = ()
    secrets: tuple[SecretRef, ...] = ()


@dataclass(frozen=True, slots=True)
class DownstreamTlsConfig:
    """A `DownstreamTlsContext`."""

    common: TlsConfig
    require_client_certificate: bool = False
    source: TlsSource | None = None
    pending: bool = False
    """Secrets of it are not here: nobody can be let in."""


@dataclass(frozen=True, slots=True)
class UpstreamTlsConfig:
    """An `UpstreamTlsContext`. `auto_host_sni` sends the host's name where it has one."""

    common: TlsConfig
    sni: str = ""
    auto_host_sni: bool = False
    source: TlsSource | None = None
    pending: bool = False
    """Secrets of it are not here: no host can be reached."""


@dataclass(frozen=True, slots=True)
class TransportSocketMatch:
    """The transport socket of hosts whose metadata has all that `criteria` says; `tls` None means plain text."""

    criteria: Mapping[str, Any] = field(hash=False)
    tls: UpstreamTlsConfig | None
