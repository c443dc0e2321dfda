"""Which OCSP response a client is shown beside our certificate. Envoy: DownstreamTlsContext.ocsp_staple_policy."""

from __future__ import annotations

import ssl
from typing import Any

from pyproxy.config import ocsp
from pyproxy.config.tls import DownstreamTlsConfig


class Stapler:
    """Asked once for each client that wants one. `stats` is the `TlsStats`, which live in a room above."""

    def __init__(self, config: DownstreamTlsConfig, stats: Any) -> None:
        self._by_certificate = {_leaf(one.chain): one.ocsp for one in config.common.certificates}
        self._policy = config.ocsp_policy
        self._stats = stats

    def __call__(self, certificate: bytes) -> bytes | None:
        """The response; empty for none, None where the client has to be refused."""
        stats = self._stats
        stats.ocsp_staple_requests.value += 1
        response = self._by_certificate.get(certificate, b"")
        if response and ocsp.fresh(response):
            stats.ocsp_staple_responses.value += 1
            return response
        if self._policy == ocsp.MUST_STAPLE or (response and self._policy == ocsp.STRICT):
            stats.ocsp_staple_failed.value += 1
            return None
        stats.ocsp_staple_omitted.value += 1
        return b""


def _leaf(chain: bytes) -> bytes:
    """The first certificate of a chain in PEM, in DER."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n"
    text = chain.decode("ascii")
    return ssl.PEM_cert_to_DER_cert(text[text.index(begin) : text.index(end) + len(end)])
