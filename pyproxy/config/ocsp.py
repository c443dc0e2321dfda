"""OCSP responses that are shown to clients beside our certificate. Envoy: DownstreamTlsContext.ocsp_staple_policy."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.x509 import ocsp

from pyproxy.config.tls import TlsCertificate
from pyproxy.config.view import View

MUST_STAPLE: Final = "MUST_STAPLE"
STRICT: Final = "STRICT_STAPLING"


def check_staples(view: View, certificates: tuple[TlsCertificate, ...], policy: str) -> None:
    """Fails where a response is none, or is about another certificate, or is missing where there has to be one."""
    for at, certificate in enumerate(certificates):
        leaf = x509.load_pem_x509_certificate(certificate.chain)
        if not certificate.ocsp:
            if policy == MUST_STAPLE or _promises_staple(leaf):
                view.fail("common_tls_context", f"the certificate {at} has no ocsp_staple, which it has to have")
            continue
        try:
            response = ocsp.load_der_ocsp_response(certificate.ocsp)
            about = response.serial_number
        except ValueError as error:
            view.fail("common_tls_context", f"the ocsp_staple of certificate {at} is no successful response: {error}")
        if about != leaf.serial_number:
            view.fail("common_tls_context", f"the ocsp_staple of certificate {at} is about another certificate")


def fresh(response: bytes, now: datetime | None = None) -> bool:
    """Whether a response still holds; one without an end holds until then."""
    until = _until(response)
    return until is None or until > (now or datetime.now(UTC))


@functools.lru_cache(64)
def _until(response: bytes) -> datetime | None:
    return ocsp.load_der_ocsp_response(response).next_update_utc


def _promises_staple(leaf: x509.Certificate) -> bool:
    """RFC 7633 section 6."""
    try:
        features = leaf.extensions.get_extension_for_class(x509.TLSFeature).value
    except x509.ExtensionNotFound:
        return False
    return x509.TLSFeatureType.status_request in features
