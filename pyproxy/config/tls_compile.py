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

from pyproxy import openssl
from pyproxy.config.data_source import read_data_source
from pyproxy.config.matcher_compile import compile_string_match
from pyproxy.config.ocsp import check_staples
from pyproxy.config.sds_file import TlsInputs, read_secret
from pyproxy.config.spiffe_compile import SPIFFE, compile_trust_domains
from pyproxy.config.tls import (
    INLINE,
    DownstreamTlsConfig,
    PeerValidation,
    SanMatch,
    TlsCertificate,
    TlsConfig,
    TlsSource,
    TrustDomain,
    UpstreamTlsConfig,
)
from pyproxy.config.tls_session_compile import NEEDS_OPENSSL, compile_sessions
from pyproxy.config.view import View

DOWNSTREAM_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
UPSTREAM_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_VERSIONS: Final = {
    "TLS_AUTO": 0,
    "TLSv1_2": int(ssl.TLSVersion.TLSv1_2),
    "TLSv1_3": int(ssl.TLSVersion.TLSv1_3),
}
_GROUPS: Final = {"X25519": "X25519", "P-256": "P-256", "P-384": "P-384", "P-521": "P-521"}
_SIGNATURES: Final = {
    "ecdsa_secp256r1_sha256": "ECDSA+SHA256",
    "ecdsa_secp384r1_sha384": "ECDSA+SHA384",
    "ecdsa_secp521r1_sha512": "ECDSA+SHA512",
    "rsa_pss_rsae_sha256": "rsa_pss_rsae_sha256",
    "rsa_pss_rsae_sha384": "rsa_pss_rsae_sha384",
    "rsa_pss_rsae_sha512": "rsa_pss_rsae_sha512",
    "rsa_pkcs1_sha256": "RSA+SHA256",
    "rsa_pkcs1_sha384": "RSA+SHA384",
    "rsa_pkcs1_sha512": "RSA+SHA512",
    "ed25519": "ed25519",
}
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
    if required and not inputs.pending and not (checks.trusted_ca or checks.trust_domains or checks.pinned):
        # Envoy would let in whoever made a certificate for himself.
        expected = "a trusted_ca, or verify_certificate_spki or verify_certificate_hash"
        view.fail("common_tls_context", "says nothing of the client certificates that are required", expected=expected)
    if (checks.accept_untrusted or (checks.pinned and not checks.trusted_ca)) and not openssl.usable():
        # Python's ssl module asks for a certificate only if it is to check who issued it.
        view.fail("common_tls_context", "client certificates from anybody " + NEEDS_OPENSSL)
    policy = view.enum("ocsp_staple_policy")
    check_staples(view, common.certificates, policy)
    if any(one.ocsp for one in common.certificates) and not openssl.usable():
        view.fail("common_tls_context", "OCSP responses " + NEEDS_OPENSSL)
    view.ignore("full_scan_certs_on_sni_mismatch")  # the first certificate of each kind of key is at hand in any case
    return DownstreamTlsConfig(
        common,
        required,
        sessions=compile_sessions(view),
        ocsp_policy=policy,
        prefer_client_ciphers=bool(view.scalar("prefer_client_ciphers")),
        source=_source(view, inputs),
        pending=inputs.pending,
    )


def compile_upstream_tls(view: View) -> UpstreamTlsConfig:
    """An `UpstreamTlsContext`."""
    context = view.child("common_tls_context")
    inputs = TlsInputs()
    common = TlsConfig() if context is None else _common(context, inputs)
    if context is not None and len(common.certificates) > 1:
        context.fail("tls_certificates", "are several, and a client can show only one (Envoy)", expected="one")
    checks = common.validation
    auto_san = bool(view.scalar("auto_sni_san_validation"))
    if auto_san and not inputs.pending and not (checks.trusted_ca or checks.trust_domains):
        view.fail("auto_sni_san_validation", "needs a validation_context with a trusted_ca")
    most = view.wrapped("max_session_keys")
    return UpstreamTlsConfig(
        common,
        view.text("sni"),
        auto_host_sni=bool(view.scalar("auto_host_sni")),
        auto_sni_san=auto_san,
        max_sessions=1 if most is None else most,
        source=_source(view, inputs),
        pending=inputs.pending,
    )


def _source(view: View, inputs: TlsInputs) -> TlsSource | None:
    """None where nothing of it stands in a file or comes from elsewhere."""
    if not inputs.files and not inputs.secrets:
        return None
    spec = view.message.SerializeToString(deterministic=True)
    files, secrets = dict.fromkeys(inputs.files), dict.fromkeys(inputs.secrets)
    return TlsSource(view.type_name, spec, tuple(files), tuple(secrets), tuple(inputs.static_secrets.items()))


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
    if len(set(kinds)) < len(kinds) and not openssl.usable():
        view.fail("tls_certificates", "several certificates with keys of one kind " + NEEDS_OPENSSL)
    validation = _validation_view(view, inputs)
    params = view.child("tls_params")
    lowest, highest, ciphers, groups, algorithms = (0, 0, "", "", "") if params is None else _parameters(params)
    return TlsConfig(
        certificates=certificates,
        validation=PeerValidation() if validation is None else _validation(validation, inputs),
        min_version=lowest,
        max_version=highest,
        ciphers=ciphers,
        groups=groups,
        signature_algorithms=algorithms,
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


def _parameters(view: View) -> tuple[int, int, str, str, str]:
    """(lowest version, highest, ciphers, groups, signature algorithms)."""
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
    groups = ":".join(_GROUPS.get(one, one) for one in view.scalars("ecdh_curves"))
    algorithms = ":".join(_SIGNATURES.get(one, one) for one in view.scalars("signature_algorithms"))
    if (groups or algorithms) and not openssl.usable():
        view.fail("", "ecdh_curves and signature_algorithms " + NEEDS_OPENSSL)
    if groups:
        try:
            openssl.set_groups(scratch, groups)
        except ValueError:
            view.fail("ecdh_curves", f"OpenSSL does not know all of {groups}", expected=", ".join(_GROUPS))
    if algorithms:
        try:
            openssl.set_signature_algorithms(scratch, algorithms)
        except ValueError:
            known = ", ".join(_SIGNATURES)
            view.fail("signature_algorithms", f"OpenSSL does not know all of {algorithms}", expected=known)
    return found[0], found[1], ciphers, groups, algorithms


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
    staple = view.child("ocsp_staple")
    return TlsCertificate(
        chain=pem,
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        path=_path(view, "certificate_chain"),
        ocsp=b"" if staple is None else _read(staple, inputs),
    )


def _read(source: View, inputs: TlsInputs) -> bytes:
    """What a `DataSource` holds. Adds its file to `inputs`, if it is one."""
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
    for name in ("ca_certificate_provider_instance", "require_signed_certificate_timestamp"):
        if view.has(name):
            view.fail(name, "is not supported yet")
    if view.has("custom_validator_config"):
        return _custom_validation(view, inputs)
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
    expired = bool(view.scalar("allow_expired_certificate"))
    if expired and revoked:
        view.fail("allow_expired_certificate", "cannot be set beside a crl, as that could then be an old one")
    return PeerValidation(
        trusted_ca=trusted,
        trusted_ca_path=_path(view, "trusted_ca"),
        crl=revoked,
        only_leaf_crl=bool(view.scalar("only_verify_leaf_cert_crl")),
        accept_untrusted=view.enum("trust_chain_verification") == "ACCEPT_UNTRUSTED",
        sans=sans or old,
        spki_pins=spki,
        certificate_pins=hashes,
        allow_expired=expired,
    )


def _custom_validation(view: View, inputs: TlsInputs) -> PeerValidation:
    """By `custom_validator_config`: the one of SPIFFE, which looks at URI names only."""
    extension = view.need("custom_validator_config")
    extension.ignore("name")  # the type chooses
    typed = extension.any("typed_config")
    if typed is None or typed.type_name != SPIFFE:
        found = "none" if typed is None else typed.type_name
        extension.fail("typed_config", f"the validator {found} is not supported", expected=SPIFFE)
    if not openssl.usable():
        extension.fail("", "the SPIFFE validator " + NEEDS_OPENSSL)
    for name in ("crl", "verify_certificate_spki", "verify_certificate_hash"):
        if any(field.name == name for field, _ in view.message.ListFields()):
            view.fail(name, "is not looked at by the SPIFFE validator (nor in Envoy)", expected="none beside it")
    if view.enum("trust_chain_verification") != "VERIFY_TRUST_CHAIN":
        view.fail("trust_chain_verification", "is not looked at by the SPIFFE validator", expected="VERIFY_TRUST_CHAIN")
    view.ignore("trusted_ca")  # the bundles go in its place (Envoy)
    domains: tuple[TrustDomain, ...] = compile_trust_domains(typed, lambda source: _read(source, inputs))
    sans = view.each("match_typed_subject_alt_names", _san)
    if any(one.kind != "URI" for one in sans):
        view.fail(
            "match_typed_subject_alt_names", "other names are not looked at by the SPIFFE validator", expected="URI"
        )
    old = view.each("match_subject_alt_names", lambda one: SanMatch("URI", compile_string_match(one)))
    return PeerValidation(
        sans=sans or old,
        trust_domains=domains,
        allow_expired=bool(view.scalar("allow_expired_certificate")),
    )


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
