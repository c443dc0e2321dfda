"""What access logs say of the certificates of a downstream, by Envoy and by pyproxy."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.oracle.bootstrap import TYPE
from tests.oracle.tls_proxies import OWNERS, Json, Proxy, transport, two_proxies
from tests.server.bootstraps import bootstrap, listener, manager
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK

PLAIN = (
    *("DOWNSTREAM_PEER_URI_SAN", "DOWNSTREAM_PEER_DNS_SAN", "DOWNSTREAM_PEER_IP_SAN", "DOWNSTREAM_PEER_EMAIL_SAN"),
    *("DOWNSTREAM_PEER_SUBJECT", "DOWNSTREAM_PEER_ISSUER", "DOWNSTREAM_PEER_SERIAL", "DOWNSTREAM_PEER_CERT"),
    *("DOWNSTREAM_PEER_FINGERPRINT_256", "DOWNSTREAM_PEER_FINGERPRINT_1", "DOWNSTREAM_TLS_VERSION"),
    *("DOWNSTREAM_PEER_CERT_V_START", "DOWNSTREAM_PEER_CERT_V_END", "DOWNSTREAM_PEER_CERT_V_START(%Y%m%d)"),
    "DOWNSTREAM_LOCAL_URI_SAN",
)
CHOICES: tuple[list[Any], ...] = (
    ["UPSTREAM_HOST", {"command": "REQ", "param": "x-none"}, {"command": "REQ", "param": ":METHOD"}],
    [{"command": "DOWNSTREAM_PEER_DNS_SAN"}, "PROTOCOL"],
    ["UPSTREAM_HOST"],
    [{"command": "REQ", "param": ":AUTHORITY", "max_length": 4}],
)
OPERATORS = (*PLAIN, *(f"COALESCE({json.dumps({'operators': choice})})" for choice in CHOICES))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[dict[str, Proxy]]:
    chain, key = authority.issue("server", x509.UniformResourceIdentifier("spiffe://test/server"))
    own = {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
    common = {"tls_certificates": [own], "validation_context": {"trusted_ca": {"filename": str(authority.ca)}}}

    def make(proxy: Proxy) -> Json:
        log = {
            "name": "file",
            "typed_config": {
                "@type": f"{TYPE}.access_loggers.file.v3.FileAccessLog",
                "path": str(proxy.directory / "access.log"),
                "log_format": {"json_format": {name: f"%{name}%" for name in OPERATORS}},
            },
        }
        route = {"direct_response": {"status": 200}}
        web = listener("web", proxy.ports["web"], manager("web", route, access_log=[log]))
        web["filter_chains"][0]["transport_socket"] = transport("Downstream", common)
        return bootstrap([web], [])

    yield from two_proxies(tmp_path_factory.mktemp("tls-logs"), ["web"], make)


@pytest.mark.oracle
@pytest.mark.xdist_group("tls-logs")
@pytest.mark.parametrize("who", ["known", "plain", "nobody"])
def test_logs_as_envoy(who: str, pair: dict[str, Proxy], authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.check_hostname = False
    names: dict[str, list[x509.GeneralName]] = {
        "known": [
            x509.UniformResourceIdentifier("spiffe://test/client"),
            x509.DNSName("one.test"),
            x509.DNSName("two.test"),
            x509.RFC822Name("a@b.test"),
        ],
        "plain": [],
    }
    if who != "nobody":
        context.load_cert_chain(*authority.issue(who, *names[who]))
    theirs, ours = (_logged(pair[owner], context) for owner in OWNERS)
    assert ours == theirs


def _logged(proxy: Proxy, context: ssl.SSLContext) -> dict[str, Any]:
    """The line of one request."""
    log = proxy.directory / "access.log"
    before = _lines(log)
    connection = http.client.HTTPSConnection(LOOPBACK, proxy.ports["web"], timeout=10, context=context)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()
    deadline = time.monotonic() + 5
    while len(lines := _lines(log)) == len(before):
        assert time.monotonic() < deadline, "no line was logged"
        time.sleep(0.01)
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _lines(log: Path) -> list[str]:
    text = log.read_text() if log.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()
