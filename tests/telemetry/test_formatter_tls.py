"""Operators of certificates, and COALESCE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pyproxy.config.format import parse_format
from pyproxy.network.transport_sockets.tls_arrival import TlsFacts
from pyproxy.telemetry.formatter import build_formatter
from tests.support.certificates import Authority
from tests.telemetry.exchanges import forwarded


class Socket:
    """What an `ssl.SSLObject` says."""

    def __init__(self, der: bytes | None) -> None:
        self._der = der

    def cipher(self) -> tuple[str, str, int]:
        return "C", "TLSv1.3", 128

    def version(self) -> str:
        return "TLSv1.3"

    def getpeercert(self, binary: bool) -> bytes | None:
        return self._der


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> TlsFacts:
    names = (x509.DNSName("a.test"), x509.DNSName("b.test"), x509.UniformResourceIdentifier("spiffe://t/web"))
    chain, _ = Authority(tmp_path_factory.mktemp("ca")).issue("web", *names)
    certificate = x509.load_pem_x509_certificates(Path(chain).read_bytes())[0]

    tls: Any = Socket(certificate.public_bytes(Encoding.DER))
    return TlsFacts(tls, ("spiffe://t/own",))


def formatted(text: str, tls: TlsFacts | None) -> str:
    request, response = forwarded()
    request.info.connection.tls = tls
    return build_formatter(parse_format(text))(request, response)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOWNSTREAM_PEER_DNS_SAN", "a.test,b.test"),
        ("DOWNSTREAM_PEER_IP_SAN", "-"),
        ("DOWNSTREAM_LOCAL_URI_SAN", "spiffe://t/own"),
    ],
)
def test_names(facts: TlsFacts, name: str, value: str) -> None:
    assert formatted(f"%{name}%", facts) == value
    assert formatted(f"%{name}%", None) == "-"


def test_what_identifies_a_certificate(facts: TlsFacts) -> None:
    digest, serial = formatted("%DOWNSTREAM_PEER_FINGERPRINT_256% %DOWNSTREAM_PEER_SERIAL%", facts).split()
    assert digest == facts.peer_digest
    assert int(serial, 16) == (facts.peer.serial_number if facts.peer else 0)
    assert len(serial) % 2 == 0
    assert formatted("%DOWNSTREAM_PEER_CERT%", facts).startswith("-----BEGIN%20CERTIFICATE-----%0A")
    assert len(formatted("%DOWNSTREAM_PEER_CERT_V_END(%Y)%", facts)) == 4


def test_it_is_worked_out_once(facts: TlsFacts) -> None:
    calls: list[int] = []

    def read(tls: TlsFacts, certificate: x509.Certificate) -> str:
        calls.append(1)
        return ""

    for _ in range(2):
        assert facts.remembered("test", read) == ""
    assert calls == [1]


@pytest.mark.parametrize(
    ("operators", "value"),
    [
        (["DOWNSTREAM_TLS_VERSION", "PROTOCOL"], "HTTP/1.1"),
        ([{"command": "REQ", "param": "x-none"}, {"command": "REQ", "param": "x-u", "max_length": 2}], "é"),
        ([{"command": "METADATA", "param": "ROUTE:ns:k:z"}], "zed"),
        ([{"command": "REQ", "param": "x-bad"}], "a\tb\udcff€"),
        (["RESPONSE_CODE"], "200"),
        (["DOWNSTREAM_PEER_DNS_SAN"], "-"),
    ],
)
def test_coalesce(operators: list[Any], value: str) -> None:
    assert formatted(f"%COALESCE({json.dumps({'operators': operators})})%", None) == value
