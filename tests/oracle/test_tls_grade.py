"""What testssl finds at a listener of Envoy and at one of pyproxy: protocols, ciphers, forward secrecy, known holes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.oracle.tls_proxies import OWNERS, Json, Proxy, own, transport, two_proxies
from tests.server.bootstraps import HELLO, bootstrap, listener, manager
from tests.support.identity import Identity
from tests.support.ports import LOOPBACK

TESTSSL = shutil.which("testssl") or shutil.which("testssl.sh")
LOOKS = ("--protocols", "--std", "--fs", "--vulnerable")

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("tls-grade"),
    pytest.mark.skipif(TESTSSL is None, reason="needs the program testssl (Debian: testssl.sh)"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    directory = tmp_path_factory.mktemp("grade")
    server = Identity.root("root").issue("localhost", x509.DNSName("localhost"))

    def make(proxy: Proxy) -> Json:
        web = listener("web", proxy.ports["web"], manager("web", HELLO))
        web["filter_chains"][0]["transport_socket"] = transport("Downstream", {"tls_certificates": [own(server)]})
        return bootstrap([web], [])

    for proxies in two_proxies(directory, ("web",), make):
        envoy, pyproxy = (_scan(proxies[name].ports["web"], directory / f"{name}.json") for name in OWNERS)
        yield envoy, pyproxy


def _scan(port: int, report: Path) -> dict[str, str]:
    """Severity by finding."""
    assert TESTSSL is not None
    command = [TESTSSL, "--quiet", "--color", "0", "--warnings", "batch", *LOOKS, "--jsonfile", str(report)]
    subprocess.run([*command, f"{LOOPBACK}:{port}"], capture_output=True, timeout=180)
    return {one["id"]: one["severity"] for one in json.loads(report.read_text())}


def test_nothing_is_worse_than_at_envoy(found: tuple[dict[str, str], dict[str, str]]) -> None:
    envoy, pyproxy = found
    assert {"TLS1_2", "TLS1_3", "heartbleed", "ROBOT", "BEAST", "SWEET32"} <= envoy.keys()
    assert pyproxy.keys() == envoy.keys()
    worse = {name: (envoy[name], pyproxy[name]) for name in envoy if pyproxy[name] not in ("OK", "INFO", envoy[name])}
    assert worse == {}
