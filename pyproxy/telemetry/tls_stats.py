"""What Envoy counts of TLS: `listener.<address>.ssl.` and `cluster.<name>.ssl.`."""

from __future__ import annotations

import ssl
from typing import Any

from pyproxy.telemetry.metrics import Counter
from pyproxy.telemetry.stat_blocks import StatsBlock, StatsPart

PREFIX = "ssl."
_NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"


class TlsStats(StatsPart):
    """`ssl.`: handshakes, and why there were none. Versions and ciphers are named when they are first seen."""

    connection_error: Counter
    fail_verify_cert_hash: Counter
    fail_verify_error: Counter
    fail_verify_no_cert: Counter
    fail_verify_san: Counter
    handshake: Counter
    no_certificate: Counter
    ocsp_staple_failed: Counter
    ocsp_staple_omitted: Counter
    ocsp_staple_requests: Counter
    ocsp_staple_responses: Counter
    session_reused: Counter

    def __init__(self, block: StatsBlock) -> None:
        super().__init__(block, PREFIX)
        self._named: dict[str, Counter] = {}

    def count_handshake(self, tls: Any) -> None:
        """TLS stands: `tls` is an `ssl.SSLObject`."""
        self.handshake.value += 1
        if tls.session_reused:
            self.session_reused.value += 1
        if tls.getpeercert(True) is None:
            self.no_certificate.value += 1
        cipher = tls.cipher()
        self._count(f"versions.{tls.version()}")
        if cipher:
            self._count(f"ciphers.{cipher[0]}")

    def count_failure(self, error: BaseException) -> None:
        """A handshake failed. What is not about TLS, such as a peer that has gone, is a connection error too."""
        if isinstance(error, ssl.SSLCertVerificationError):
            self.fail_verify_error.value += 1
        elif isinstance(error, ssl.SSLError) and error.reason == _NO_CERTIFICATE:
            self.fail_verify_no_cert.value += 1
        elif isinstance(error, ssl.SSLError):
            self.connection_error.value += 1

    def count_refusal(self, *, san: bool) -> None:
        """The certificate is valid, and not one that is wanted: by its names, or by its hash."""
        if san:
            self.fail_verify_san.value += 1
        else:
            self.fail_verify_cert_hash.value += 1

    def _count(self, name: str) -> None:
        counter = self._named.get(name)
        if counter is None:
            counter = self._named[name] = self.scope.counter(f"{PREFIX}{name}")
        counter.value += 1
