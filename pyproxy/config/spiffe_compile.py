"""Compiles the SPIFFE validator: protobuf -> `config.tls.TrustDomain` values.

Envoy: envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig.
"""

from __future__ import annotations

import base64
import binascii
import json
import ssl
from collections.abc import Callable
from typing import Any, Final

from cryptography import x509

from pyproxy.config.tls import TrustDomain
from pyproxy.config.view import View

SPIFFE: Final = "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"

_X509_USE: Final = "x509-svid"
_REVOKED: Final = "BEGIN X509 CRL"

Read = Callable[[View], bytes]


def compile_trust_domains(view: View, read: Read) -> tuple[TrustDomain, ...]:
    """A `SPIFFECertValidatorConfig`, whose `DataSource` are read by `read`. As in Envoy, `trust_bundles` goes first."""
    bundles = view.child("trust_bundles")
    if bundles is not None:
        view.ignore("trust_domains")
        return _bundle_map(bundles, read(bundles))
    found = view.each("trust_domains", lambda one: _domain(one, read))
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            view.fail("trust_domains", f"holds two bundles for {name}", expected="one, with the certificates of both")
    if not found and not view.report.faults:
        view.fail("trust_domains", "is empty, so nobody could be trusted", expected="at least one")
    return found


def _domain(view: View, read: Read) -> TrustDomain:
    name = view.text("name")
    source = view.need("trust_bundle")
    try:
        bundle = read(source).decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=bundle)
    except (ValueError, ssl.SSLError) as error:
        view.fail("trust_bundle", f"holds no certificate in PEM: {error}")
    if _REVOKED in bundle:
        view.fail("trust_bundle", "holds a list of revoked certificates, which is not supported yet")
    return TrustDomain(name, bundle)


def _bundle_map(view: View, data: bytes) -> tuple[TrustDomain, ...]:
    """JSON: the bundles (SPIFFE Trust Domain and Bundle, 4) of several trust domains, by their names."""
    try:
        domains: Any = json.loads(data)["trust_domains"]
        found = tuple(TrustDomain(name, _authorities(bundle["keys"])) for name, bundle in domains.items())
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        reason = f"is no map of SPIFFE bundles: {type(error).__name__} {error}"
        view.fail("", reason, expected='{"trust_domains": {NAME: {"keys": [{"use": "x509-svid", "x5c": [...]}]}}}')
    for one in found:
        if not one.bundle:
            view.fail("", f"holds no x509-svid key for {one.name}")
    if not found:
        view.fail("", "holds no trust domain, so nobody could be trusted")
    return found


def _authorities(keys: Any) -> str:
    """Those for certificates, in PEM. A bundle also holds keys for JWTs."""
    chains = [key["x5c"] for key in keys if key["use"] == _X509_USE]
    ders = [base64.b64decode(text, validate=True) for chain in chains for text in chain]
    for der in ders:
        x509.load_der_x509_certificate(der)
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in ders)
