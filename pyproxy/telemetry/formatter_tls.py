"""Operators that tell of TLS: the certificates of both ends of the downstream connection.

What is read of a certificate is the same for all requests of its connection, so it is remembered there
(`TlsFacts.remembered`). Chains beyond the leaf are not known to Python's ssl module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pyproxy.config.format import Operator
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.formatter_expression import Expression, Kind, Scope, Unset, call
from pyproxy.telemetry.formatter_time import build_date

Read = Callable[[Any, x509.Certificate], str]
_DEFAULT_DATE: Final = "%Y-%m-%dT%H:%M:%S.000Z"


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _sans(kind: str) -> Read:
    return lambda tls, certificate: ",".join(tls.peer_sans(kind))


_PEER: Final[dict[str, Read]] = {
    "DOWNSTREAM_PEER_DNS_SAN": _sans("DNS"),
    "DOWNSTREAM_PEER_IP_SAN": _sans("IP_ADDRESS"),
    "DOWNSTREAM_PEER_EMAIL_SAN": _sans("EMAIL"),
    "DOWNSTREAM_PEER_ISSUER": lambda tls, certificate: tls.name_of(certificate.issuer),
    "DOWNSTREAM_PEER_SERIAL": lambda tls, certificate: _hex(certificate.serial_number),
    "DOWNSTREAM_PEER_FINGERPRINT_256": lambda tls, certificate: hashlib.sha256(_der(certificate)).hexdigest(),
    "DOWNSTREAM_PEER_FINGERPRINT_1": lambda tls, certificate: hashlib.sha1(_der(certificate)).hexdigest(),  # noqa: S324
    "DOWNSTREAM_PEER_CERT": lambda tls, certificate: quote(tls.peer_pem, safe=""),
}
_DATES: Final = {
    "DOWNSTREAM_PEER_CERT_V_START": lambda certificate: certificate.not_valid_before_utc,
    "DOWNSTREAM_PEER_CERT_V_END": lambda certificate: certificate.not_valid_after_utc,
}


def tls_operator(operator: Operator, scope: Scope) -> Expression | None:
    """The expression for an operator of this file; None where it is not one."""
    read = _PEER.get(operator.name) or _date(operator)
    if read is None:
        return None
    key = (operator.name, operator.argument)

    def value(request: Request, response: Response | None) -> str | None:
        tls = request.info.connection.tls
        return None if tls is None else tls.remembered(key, read) or None

    return call(scope, value, Kind.TEXT, Unset.NONE).cut(operator.length)


def _date(operator: Operator) -> Read | None:
    moment = _DATES.get(operator.name)
    if moment is None:
        return None
    date = build_date(operator.argument or _DEFAULT_DATE)
    return lambda tls, certificate: date(moment(certificate).timestamp())


def _hex(number: int) -> str:
    """Whole bytes."""
    text = f"{number:x}"
    return text if len(text) % 2 == 0 else f"0{text}"
