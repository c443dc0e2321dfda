"""TLS on both sides: who is let in, who is talked to, and that nothing goes on before that is known."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.integration.upstream import Upstream
from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.server.running import Running, eventually
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
LOG = "%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% %DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_URI_SAN%"
GOOD = "spiffe://test/client"
Begin = Callable[..., Running]


def socket(kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": "tls", "typed_config": {"@type": f"{TLS}{kind}TlsContext", **fields}}


def identity(pair: tuple[str, str]) -> dict[str, Any]:
    return {"certificate_chain": {"filename": pair[0]}, "private_key": {"filename": pair[1]}}


def san(kind: str, exact: str) -> dict[str, Any]:
    return {"match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": exact}}]}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "own")


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    started: list[Running] = []

    def run(port: int, downstream: dict[str, Any] | None, upstream: dict[str, Any] | None = None) -> Running:
        log = file_log(str(tmp_path / "access.log"), LOG)
        web = listener("web", 0, manager("web", {"route": {"cluster": "up"}}, access_log=[log]))
        if downstream is not None:
            web["filter_chains"][0]["transport_socket"] = downstream
        up = static_cluster("up", endpoint(port), **({"transport_socket": upstream} if upstream else {}))
        home = tmp_path / f"proxy{len(started)}"
        home.mkdir()
        file = home / "bootstrap.json"
        file.write_text(json.dumps(bootstrap([web], [up])))
        flags = ["--concurrency", "1", "--file-flush-interval-msec", "10"]
        proxy = Running(home, ["pyproxy", "-c", str(file), *flags])
        started.append(proxy)
        eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
        assert proxy.process.poll() is None, proxy.said()
        return proxy

    yield run
    for proxy in started:
        assert "Traceback" not in proxy.said()
        proxy.stop()


def ask(port: int, authority: Authority, pair: tuple[str, str] | None = None) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.check_hostname = False
    if pair is not None:
        context.load_cert_chain(*pair)
    connection = http.client.HTTPSConnection(LOOPBACK, port, timeout=5, context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/digest")
        response = connection.getresponse()
        return response.status, response.read()


def test_clients_are_served_over_tls(begin: Begin, upstream: Upstream, authority: Authority, tmp_path: Path) -> None:
    own = {"tls_certificates": [identity(authority.issue("server"))]}
    proxy = begin(upstream.port, socket("Downstream", common_tls_context=own))
    assert ask(proxy.port("web"), authority)[0] == 200
    eventually(lambda: "TLSv1.3 TLS_" in (tmp_path / "access.log").read_text())


def test_only_clients_with_the_right_certificate_get_in(
    begin: Begin, upstream: Upstream, authority: Authority, tmp_path: Path
) -> None:
    uri = x509.UniformResourceIdentifier
    revoked = authority.issue("revoked", uri(GOOD))
    validation = {
        "trusted_ca": {"filename": str(authority.ca)},
        "crl": {"filename": authority.revoke(revoked[0])},
        **san("URI", GOOD),
    }
    own = {"tls_certificates": [identity(authority.issue("server"))], "validation_context": validation}
    proxy = begin(upstream.port, socket("Downstream", common_tls_context=own, require_client_certificate=True))
    port = proxy.port("web")
    refused = (
        None,
        Authority(tmp_path / "other").issue("stranger", uri(GOOD)),
        authority.issue("misnamed", uri(f"{GOOD}x")),
        authority.issue("expired", uri(GOOD), expired=True),
        revoked,
    )
    for pair in refused:
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(port, authority, pair)
    assert upstream.connections == 0
    assert ask(port, authority, authority.issue("good", uri(GOOD)))[0] == 200
    eventually(lambda: f"CN=good {GOOD}" in (tmp_path / "access.log").read_text())


def test_an_upstream_is_known_by_its_name(
    begin: Begin, upstream: Upstream, authority: Authority, tmp_path: Path
) -> None:
    own = {"tls_certificates": [identity(authority.issue("server", x509.DNSName("up.test")))]}
    inner = begin(upstream.port, socket("Downstream", common_tls_context=own)).port("web")
    for name, status in (("up.test", 200), ("other.test", 503)):
        validation = {"trusted_ca": {"filename": str(authority.ca)}, **san("DNS", name)}
        context = {"validation_context": validation}
        proxy = begin(inner, None, socket("Upstream", common_tls_context=context, sni="up.test"))
        connection = http.client.HTTPConnection(LOOPBACK, proxy.port("web"), timeout=5)
        connection.request("GET", "/digest")
        response = connection.getresponse()
        body = response.read()
        assert response.status == status, body
        if status == 503:
            assert body.endswith(b"reset reason: remote connection failure")
        connection.close()
    assert upstream.requests["GET /digest"] == 1
