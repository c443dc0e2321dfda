"""What sslyze finds at a listener of Envoy and at one of pyproxy. Env SSLYZE_BIN names the program if PATH does not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.oracle.tls_proxies import OWNERS, Json, Proxy, own, transport, two_proxies
from tests.server.bootstraps import HELLO, bootstrap, listener, manager
from tests.support.identity import Identity
from tests.support.ports import LOOPBACK

SSLYZE = os.environ.get("SSLYZE_BIN") or shutil.which("sslyze")
VERSIONS = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")
WEAKNESSES = (
    "heartbleed",
    "openssl_ccs_injection",
    "robot",
    "session_renegotiation",
    "tls_compression",
    "tls_1_3_early_data",
    "tls_extended_master_secret",
)
LOOKS = (
    *("sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "elliptic_curves"),
    *("heartbleed", "openssl_ccs", "robot", "reneg", "compression", "early_data", "ems"),
)

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.xdist_group("tls-scan"),
    pytest.mark.skipif(SSLYZE is None, reason="needs the program sslyze: pip install it anywhere, set SSLYZE_BIN"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Json, Json]]:
    directory = tmp_path_factory.mktemp("scan")
    server = Identity.root("root").issue("localhost", x509.DNSName("localhost"), rsa_bits=2048)

    def make(proxy: Proxy) -> Json:
        web = listener("web", proxy.ports["web"], manager("web", HELLO))
        web["filter_chains"][0]["transport_socket"] = transport("Downstream", {"tls_certificates": [own(server)]})
        return bootstrap([web], [])

    for proxies in two_proxies(directory, ("web",), make):
        envoy, pyproxy = (_scan(proxies[name].ports["web"], directory / f"{name}.json") for name in OWNERS)
        yield envoy, pyproxy


def _scan(port: int, report: Path) -> Json:
    assert SSLYZE is not None
    command = [SSLYZE, f"{LOOPBACK}:{port}", *(f"--{look}" for look in LOOKS), f"--json_out={report}"]
    # Its exit status says whether Mozilla would like the certificate, which nobody does.
    subprocess.run(command, capture_output=True, timeout=60)
    result: Json = json.loads(report.read_text())["server_scan_results"][0]["scan_result"]
    return result


def _names(found: list[Any]) -> set[str]:
    return {one["name"] for one in found}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_ciphers_are_accepted(found: tuple[Json, Json], version: str) -> None:
    envoy, pyproxy = (
        {one["cipher_suite"]["name"] for one in each[f"{version}_cipher_suites"]["result"]["accepted_cipher_suites"]}
        for each in found
    )
    assert pyproxy == envoy
    assert bool(envoy) is (version in VERSIONS[-2:])


@pytest.mark.parametrize("weakness", WEAKNESSES)
def test_there_are_no_other_weaknesses(found: tuple[Json, Json], weakness: str) -> None:
    envoy, pyproxy = (each[weakness]["result"] for each in found)
    assert envoy is not None
    assert pyproxy == envoy


def test_curves(found: tuple[Json, Json]) -> None:
    envoy, pyproxy = (_names(each["elliptic_curves"]["result"]["supported_curves"]) for each in found)
    assert pyproxy == envoy
