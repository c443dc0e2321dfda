"""TLS with OpenSSL: contexts from values, and what is checked of a peer beyond who issued its certificate.

As in Envoy, the name of a host is not compared with its certificate unless `match_typed_subject_alt_names` says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import ssl
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pyproxy import openssl
from pyproxy.config.matchers import StringKind, StringMatch
from pyproxy.config.regex import compile_regex
from pyproxy.config.tls import DownstreamTlsConfig, PeerValidation, TlsCertificate, TlsConfig, UpstreamTlsConfig
from pyproxy.network.transport_sockets.by_name import by_name, find, first_of_each_kind
from pyproxy.network.transport_sockets.sessions import let_resume
from pyproxy.network.transport_sockets.spiffe import SpiffeValidator

_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
)
_NEVER: Final = ":!aNULL:!eNULL:!PSK:@SECLEVEL=2"
"""Behind every list of ciphers, where it counts: none without a certificate or in the clear (BoringSSL has none of
them), and no RSA below 2048 bits nor SHA-1 in the chain of a peer, however OpenSSL was built."""

_GROUPS: Final = "X25519:P-256"
_TLS13_CIPHERS: Final = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""Envoy's: of OpenSSL's own, P-384 and more are slow, and AES-256 goes first."""

_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for."""

_PRIORITIZE_CHACHA: Final = 1 << 21
"""SSL_OP_PRIORITIZE_CHACHA, which the ssl module has no name for: a client that puts ChaCha20 first, as those without
AES in hardware do, gets it (in Envoy: two ciphers of one group)."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class PeerRefused(Exception):
    """The certificate of the peer is not one that the configuration wants; `san`: because of its names."""

    san = False


class WrongName(PeerRefused):
    """None of its names is wanted."""

    san = True


def server_context(
    config: DownstreamTlsConfig, alpn: tuple[str, ...], prepare: Callable[[openssl.Context], None] | None = None
) -> openssl.Context:
    """`alpn` are those of the configured protocols that are spoken behind it. `prepare` is called for each context that
    it consists of: one shows no more than one certificate for each kind of key."""
    every = config.common.certificates
    default = first_of_each_kind(every)
    context = _server_context(config, default, alpn)
    contexts = {default: context}
    if len(default) < len(every):
        groups = by_name(every)
        for group in groups.values():
            if group not in contexts:
                contexts[group] = _server_context(config, group, alpn)

        def choose(name: str) -> openssl.Context | None:
            group = find(groups, name)
            return None if group is None else contexts[group]

        openssl.show_by_name(context, choose)
    if prepare is not None:
        for one in contexts.values():
            prepare(one)
    return context


def _server_context(
    config: DownstreamTlsConfig, certificates: tuple[TlsCertificate, ...], alpn: tuple[str, ...]
) -> openssl.Context:
    context = _context(ssl.PROTOCOL_TLS_SERVER, replace(config.common, certificates=certificates), alpn)
    if config.prefer_client_ciphers:
        context.options &= ~(ssl.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA)
    checks = config.common.validation
    named = (checks.sans or checks.pinned) and not checks.accept_untrusted
    if config.require_client_certificate or checks.trust_domains or named:  # as in Envoy
        context.verify_mode = ssl.CERT_REQUIRED
    elif checks.trusted_ca or checks.accept_untrusted:
        context.verify_mode = ssl.CERT_OPTIONAL
    let_resume(context, config)
    return context


def client_context(config: UpstreamTlsConfig, alpn: tuple[str, ...]) -> openssl.Context:
    """`alpn` are those of the configured protocols that we speak to the upstream."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, config.common, alpn)
    checks = config.common.validation
    trusted = checks.trust_domains or (checks.trusted_ca and not checks.accept_untrusted)
    context.verify_mode = ssl.CERT_REQUIRED if trusted else ssl.CERT_NONE
    return context


def _context(protocol: int, config: TlsConfig, alpn: tuple[str, ...]) -> openssl.Context:
    context = openssl.Context(protocol)
    context.check_hostname = False
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= _PRIORITIZE_CHACHA
    context.minimum_version = ssl.TLSVersion(config.min_version or ssl.TLSVersion.TLSv1_2)
    context.maximum_version = ssl.TLSVersion(config.max_version or ssl.TLSVersion.TLSv1_3)
    context.set_ciphers((config.ciphers or _CIPHERS) + _NEVER)
    if openssl.usable():
        openssl.set_groups(context, config.groups or _GROUPS)
        openssl.set_tls13_ciphers(context, _TLS13_CIPHERS)
        if config.signature_algorithms:
            openssl.set_signature_algorithms(context, config.signature_algorithms)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    for certificate in config.certificates:
        _load_pair(context, certificate.chain + certificate.private_key)
    _trust(context, config.validation, serves=protocol == ssl.PROTOCOL_TLS_SERVER)
    return context


def _trust(context: openssl.Context, checks: PeerValidation, *, serves: bool) -> None:
    """Whom, as far as the handshake is concerned."""
    if checks.trust_domains:
        openssl.verify_with(context, SpiffeValidator(checks))
        if serves:
            with memory_file("".join(one.bundle for one in checks.trust_domains).encode()) as path:
                openssl.name_authorities(context, path)
        return
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate may be trusted by itself (Envoy)
    if checks.allow_expired:
        context.verify_flags |= _NO_CHECK_TIME
    if checks.trusted_ca:
        with memory_file(checks.trusted_ca.encode()) as path:
            context.load_verify_locations(path)
            if serves and openssl.usable():
                openssl.name_authorities(context, path)
    if checks.crl:
        with memory_file(checks.crl.encode()) as path:
            context.load_verify_locations(path)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF if checks.only_leaf_crl else ssl.VERIFY_CRL_CHECK_CHAIN
    if serves and (checks.accept_untrusted or (checks.pinned and not checks.trusted_ca)):
        openssl.verify_with(context, lambda presented: True)  # pins are looked at when TLS stands


def _load_pair(context: ssl.SSLContext, pem: bytes) -> None:
    """OpenSSL reads a key from a file only, so give it one that no disk ever sees."""
    with memory_file(pem) as path:
        context.load_cert_chain(path)


@contextlib.contextmanager
def memory_file(data: bytes) -> Any:
    """The path of one that no disk ever sees."""
    number = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(number, data)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


def verify_peer(tls: Any, checks: PeerValidation, names: Collection[str] = ()) -> None:
    """Raises PeerRefused. A peer that need not have a certificate and has none is fine. Where there are `names`, the
    certificate has to be for one of them too."""
    resumed = tls.session_reused and not checks.allow_expired and not checks.accept_untrusted
    if not (checks.sans or checks.pinned or names or resumed):
        return
    der = tls.getpeercert(True)
    if der is None:
        if names:
            raise WrongName("verify cert failed: no certificate")
        return
    try:
        certificate = x509.load_der_x509_certificate(der)
        if resumed and (checks.trusted_ca or checks.trust_domains) and _expired(certificate):
            raise PeerRefused("verify cert failed: certificate has expired")
        if not _pinned(certificate, der, checks):
            raise PeerRefused("verify cert failed: hash or SPKI")
        if names and not _is_for(certificate, names):
            raise WrongName("verify cert failed: verify SAN list")
        if checks.sans and not _named(certificate, checks):
            raise WrongName("verify cert failed: SAN matcher")
    except ValueError as error:
        raise PeerRefused("verify cert failed: cannot be read") from error


def _expired(certificate: x509.Certificate) -> bool:
    """Since the handshake that a session began with."""
    return certificate.not_valid_after_utc < datetime.now(UTC)


def _is_for(certificate: x509.Certificate, names: Collection[str]) -> bool:
    return any(
        name == wanted or (kind == "DNS" and _fits(StringMatch(StringKind.EXACT, wanted), name, dns=True))
        for kind, name in alternative_names(certificate)
        for wanted in names
    )


def refuse_odd_names(tls: Any) -> None:
    """Raises PeerRefused where a name would end the line of a log or of a header, or the certificate cannot be read."""
    der = tls.getpeercert(True)
    if der is None:
        return
    try:
        names = _all_names(x509.load_der_x509_certificate(der))
    except ValueError as error:
        raise PeerRefused("verify cert failed: cannot be read") from error
    if any(_CONTROL.search(name) for _, name in names):
        raise PeerRefused("verify cert failed: control characters in a name")


def _pinned(certificate: x509.Certificate, der: bytes, checks: PeerValidation) -> bool:
    """Where there are pins of both kinds, one of either is enough (Envoy)."""
    if not checks.pinned:
        return True
    if hashlib.sha256(der).digest() in checks.certificate_pins:
        return True
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest() in checks.spki_pins


def _named(certificate: x509.Certificate, checks: PeerValidation) -> bool:
    names = alternative_names(certificate)
    return any(
        (not san.kind or san.kind == kind) and _fits(san.match, name, dns=kind == "DNS")
        for san in checks.sans
        for kind, name in names
    )


def alternative_names(certificate: x509.Certificate) -> list[tuple[str, str]]:
    """(kind, name) of each. One with a NUL in it is none, as others might read it only up to there; nor is one with a
    line end or the like."""
    return [(kind, name) for kind, name in _all_names(certificate) if not _CONTROL.search(name)]


def _all_names(certificate: x509.Certificate) -> list[tuple[str, str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found: list[tuple[str, str]] = []
    for name in names:
        match name:
            case x509.DNSName():
                found.append(("DNS", name.value))
            case x509.UniformResourceIdentifier():
                found.append(("URI", name.value))
            case x509.RFC822Name():
                found.append(("EMAIL", name.value))
            case x509.IPAddress():
                found.append(("IP_ADDRESS", str(name.value)))
            case _:
                pass  # of kinds that nobody can ask for
    return found


def _fits(match: StringMatch, name: str, *, dns: bool) -> bool:
    value = match.value
    if match.kind is StringKind.REGEX:
        return compile_regex(value).matches(name.encode())
    if match.ignore_case or dns:
        name, value = name.lower(), value.lower()
    match match.kind:
        case StringKind.EXACT:
            return name == value or (dns and _wildcard(name, value))
        case StringKind.PREFIX:
            return name.startswith(value)
        case StringKind.SUFFIX:
            return name.endswith(value)
        case _:
            return value in name


def _wildcard(pattern: str, name: str) -> bool:
    """`*` stands for the whole first label, and for no more (RFC 6125 6.4.3)."""
    return pattern.startswith("*.") and name.partition(".")[2] == pattern[2:] and not name.startswith(".")
