"""Compiles TLS contexts: protobuf -> `config.tls` values. Envoy: envoy.extensions.transport_sockets.tls.v3.

What would weaken the check of a peer if it were left out is a fault, not merely listed.
"""

from __future__ import annotations

import base64
import binascii
import ssl
import warnings
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from pyproxy.config.data_source import read_data_source
from pyproxy.config.matcher_compile import compile_string_match
from pyproxy.config.sds_file import TlsInputs, read_secret
from pyproxy.config.tls import (
    INLINE,
    DownstreamTlsConfig,
    PeerValidation,
    SanMatch,
    TlsCertificate,
    TlsConfig,
    TlsSource,
    UpstreamTlsConfig,
)
from pyproxy.config.view import View

DOWNSTREAM_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
UPSTREAM_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_VERSIONS: Final = {
    "TLS_AUTO": 0,
    "TLSv1_2": int(ssl.TLSVersion.TLSv1_2),
    "TLSv1_3": int(ssl.TLSVersion.TLSv1_3),
}
_CURVES: Final = {"P-256": "prime256v1", "P-384": "secp384r1", "P-521": "secp521r1"}
_SAN_KINDS: Final = ("DNS", "URI", "EMAIL", "IP_ADDRESS")
_SHA256: Final = 32

# Each of these decides whom we trust or who we are.
_REFUSED: Final = (
    "tls_certificate_provider_instance",
    "custom_tls_certificate_selector",
    "custom_handshaker",
)


def compile_downstream_tls(view: View) -> DownstreamTlsConfig:
    """A `DownstreamTlsContext`."""
    context = view.need("common_tls_context")
    inputs = TlsInputs()
    common = _common(context, inputs)
    own = context.message
    if not (own.tls_certificates or own.tls_certificate_sds_secret_configs):  # type: ignore[attr-defined]
        view.fail("common_tls_context", "has no certificate, and a server needs one", expected="tls_certificates")
    required = bool(view.wrapped("require_client_certificate"))
    checks = common.validation
    if not inputs.pending and not checks.trusted_ca and (required or checks.spki_pins or checks.certificate_pins):
        # OpenSSL as Python offers it asks for a certificate only if it is to check who issued it.
        view.fail("common_tls_context", "client certificates without a trusted_ca are not supported yet")
    if checks.accept_untrusted:
        view.fail("common_tls_context", "trust_chain_verification: ACCEPT_UNTRUSTED is not supported for clients yet")
    return DownstreamTlsConfig(common, required, _source(view, inputs), inputs.pending)


def compile_upstream_tls(view: View) -> UpstreamTlsConfig:
    """An `UpstreamTlsContext`."""
    context = view.child("common_tls_context")
    inputs = TlsInputs()
    common = TlsConfig() if context is None else _common(context, inputs)
    return UpstreamTlsConfig(
        common, view.text("sni"), bool(view.scalar("auto_host_sni")), _source(view, inputs), inputs.pending
    )


def _source(view: View, inputs: TlsInputs) -> TlsSource | None:
    """None where nothing of it stands in a file or comes from elsewhere."""
    if not inputs.files and not inputs.secrets:
        return None
    spec = view.message.SerializeToString(deterministic=True)
    files, secrets = dict.fromkeys(inputs.files), dict.fromkeys(inputs.secrets)
    return TlsSource(view.type_name, spec, tuple(files), tuple(secrets))


def _common(view: View, inputs: TlsInputs) -> TlsConfig:
    """A `CommonTlsContext`."""
    for name in _REFUSED:
        if any(descriptor.name == name for descriptor, _ in view.message.ListFields()):
            view.fail(name, "is not supported yet", expected="tls_certificates and validation_context")
    certificates = (
        *view.each("tls_certificates", lambda one: _certificate(one, inputs)),
        *filter(None, view.each("tls_certificate_sds_secret_configs", lambda one: _secret_certificate(one, inputs))),
    )
    kinds = [_key_kind(one) for one in certificates]
    if len(set(kinds)) < len(kinds):
        view.fail("tls_certificates", "several certificates with keys of one kind are not supported yet")
    validation = _validation_view(view, inputs)
    params = view.child("tls_params")
    lowest, highest, ciphers, curve = (0, 0, "", "") if params is None else _parameters(params)
    return TlsConfig(
        certificates=certificates,
        validation=PeerValidation() if validation is None else _validation(validation, inputs),
        min_version=lowest,
        max_version=highest,
        ciphers=ciphers,
        curve=curve,
        alpn=tuple(str(name) for name in view.scalars("alpn_protocols")),
    )


def _secret_certificate(view: View, inputs: TlsInputs) -> TlsCertificate | None:
    found = read_secret(view, "tls_certificate", inputs)
    return None if found is None else _certificate(found, inputs)


def check_secret(view: View) -> None:
    """A `Secret` by itself. Raises InvalidConfig."""
    match view.oneof("type"):
        case "tls_certificate":
            _certificate(view.need("tls_certificate"), TlsInputs())
        case "validation_context":
            _validation(view.need("validation_context"), TlsInputs())
        case kind:
            view.fail(kind or "", "secrets of this kind are not supported yet", expected="tls_certificate")


def _validation_view(view: View, inputs: TlsInputs) -> View | None:
    """Of the three ways to say it: in the message, in a secret, or in the message and more of it in a secret."""
    match view.oneof("validation_context_type"):
        case "validation_context":
            return view.need("validation_context")
        case "validation_context_sds_secret_config":
            return read_secret(view.need("validation_context_sds_secret_config"), "validation_context", inputs)
        case "combined_validation_context":
            combined = view.need("combined_validation_context")
            default = combined.need("default_validation_context")
            secret = combined.need("validation_context_sds_secret_config")
            merged = type(default.message)()
            merged.CopyFrom(default.message)
            found = read_secret(secret, "validation_context", inputs)
            if found is None:
                default.honour_all()
                return None
            merged.MergeFrom(found.message)
            default.honour_all()
            return View(merged, default.path, view.report)
        case _:
            return None


def _parameters(view: View) -> tuple[int, int, str, str]:
    found: list[int] = []
    for name in ("tls_minimum_protocol_version", "tls_maximum_protocol_version"):
        version = view.enum(name)
        if version not in _VERSIONS:
            view.fail(name, f"{version} is not safe (RFC 8996)", expected="TLSv1_2 or TLSv1_3")
        found.append(_VERSIONS[version])
    if found[1] and found[0] > found[1]:
        view.fail("tls_maximum_protocol_version", "is below the minimum")
    # BoringSSL writes suites that are equally good as [a|b]; OpenSSL knows only an order.
    suites = ":".join(view.scalars("cipher_suites"))
    ciphers = suites.replace("[", "").replace("]", "").replace("|", ":")
    scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if ciphers:
        try:
            scratch.set_ciphers(ciphers)
        except ssl.SSLError:
            view.fail("cipher_suites", f"OpenSSL knows none of {ciphers}")
    curves: tuple[str, ...] = view.scalars("ecdh_curves") if len(view.message.ecdh_curves) == 1 else ()  # type: ignore[attr-defined]
    curve = _CURVES.get(curves[0], curves[0]) if curves else ""
    if curve:
        try:
            scratch.set_ecdh_curve(curve)
        except (ValueError, ssl.SSLError):
            view.fail("ecdh_curves", f"the curve {curves[0]} is not supported", expected=", ".join(_CURVES))
    return found[0], found[1], ciphers, curve


def _certificate(view: View, inputs: TlsInputs) -> TlsCertificate:
    """A `TlsCertificate`, whose key must be that of the certificate."""
    view.ignore("watched_directory")  # the files themselves are looked at
    chain = _read(view.need("certificate_chain"), inputs)
    try:
        with warnings.catch_warnings(action="ignore"):  # what is merely frowned upon, Envoy takes too
            certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        view.fail("certificate_chain", f"holds no certificate in PEM: {error}")
    private = _read(view.need("private_key"), inputs)
    password = view.child("password")
    secret = None if password is None else _read(password, inputs).rstrip(b"\r\n")
    try:
        # Its own check of RSA keys searches for factors, which takes a tenth of a second.
        key = load_pem_private_key(private, secret, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # What the library says might show a part of the key.
        view.fail("private_key", "is not a private key in PEM, or its password is not the right one")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(key, rsa.RSAPrivateKey) and not _signs(key):
        view.fail("private_key", "is broken: what it signs cannot be verified")
    if key.public_key().public_bytes(*form) != certificates[0].public_key().public_bytes(*form):
        view.fail("private_key", "is not the key of the certificate")
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
    return TlsCertificate(
        pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), _path(view, "certificate_chain")
    )


def _read(source: View, inputs: TlsInputs) -> bytes:
    """What a `DataSource` holds. Adds its file to `files`, if it is one."""
    if source.oneof("specifier") == "filename":
        inputs.files.append(source.text("filename"))
    source.ignore("watched_directory")
    return read_data_source(source)


def _path(view: View, name: str) -> str:
    source = getattr(view.message, name)
    return source.filename or INLINE


def _key_kind(certificate: TlsCertificate) -> str:
    key = load_pem_private_key(certificate.private_key, None, unsafe_skip_rsa_key_validation=True)
    return type(key).__name__


def _signs(key: rsa.RSAPrivateKey) -> bool:
    """Whether the parts of a key fit together."""
    padding, digest = PKCS1v15(), SHA256()
    try:
        key.public_key().verify(key.sign(b"", padding, digest), b"", padding, digest)
    except (InvalidSignature, ValueError):
        return False
    return True


def _validation(view: View, inputs: TlsInputs) -> PeerValidation:
    """A `CertificateValidationContext`."""
    for name in ("custom_validator_config", "ca_certificate_provider_instance", "require_signed_certificate_timestamp"):
        if view.has(name):
            view.fail(name, "is not supported yet")
    ca, crl = view.child("trusted_ca"), view.child("crl")
    trusted = "" if ca is None else _ascii(view, "trusted_ca", ca, inputs)
    if ca is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=trusted)
        except (ValueError, ssl.SSLError) as error:
            view.fail("trusted_ca", f"holds no certificate in PEM: {error}")
    revoked = "" if crl is None else _ascii(view, "crl", crl, inputs)
    if revoked:
        try:
            x509.load_pem_x509_crl(revoked.encode())
        except ValueError as error:
            view.fail("crl", f"holds no certificate revocation list in PEM: {error}")
    sans = view.each("match_typed_subject_alt_names", _san)
    old = view.each("match_subject_alt_names", lambda one: SanMatch("", compile_string_match(one)))
    if (sans or old or revoked) and not trusted:
        view.fail("", "names and revocation of peers can be checked only with a trusted_ca (Envoy)")
    spki = frozenset(_spki(view, pin) for pin in view.scalars("verify_certificate_spki"))
    hashes = frozenset(_hash(view, pin) for pin in view.scalars("verify_certificate_hash"))
    accept = view.enum("trust_chain_verification") == "ACCEPT_UNTRUSTED"
    leaf_only = bool(view.scalar("only_verify_leaf_cert_crl"))
    return PeerValidation(trusted, _path(view, "trusted_ca"), revoked, leaf_only, accept, sans or old, spki, hashes)


def _ascii(view: View, name: str, source: View, inputs: TlsInputs) -> str:
    try:
        return _read(source, inputs).decode("ascii")
    except UnicodeDecodeError:
        view.fail(name, "is not PEM")


def _san(view: View) -> SanMatch:
    kind = view.enum("san_type")
    if kind not in _SAN_KINDS:
        view.fail("san_type", f"{kind} is not supported", expected=", ".join(_SAN_KINDS))
    return SanMatch(kind, compile_string_match(view.need("matcher")))


def _spki(view: View, pin: str) -> bytes:
    try:
        digest = base64.b64decode(pin, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != _SHA256:
        view.fail("verify_certificate_spki", f"{pin!r} is not a SHA-256 sum in base64")
    return digest


def _hash(view: View, pin: str) -> bytes:
    try:
        digest = bytes.fromhex(pin.replace(":", ""))
    except ValueError:
        digest = b""
    if len(digest) != _SHA256:
        view.fail("verify_certificate_hash", f"{pin!r} is not a SHA-256 sum in hexadecimal")
    return digest
