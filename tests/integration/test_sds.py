"""Certificates by SDS: a listener and a cluster that get them from a control plane, and change them under load."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.integration.test_discovery import Load, Start, start, stat  # noqa: F401 - `start` is a fixture
from tests.integration.upstream import Upstream
from tests.integration.worlds import CLUSTER, LISTENER, SECRET, URL, Ads, chain, web
from tests.server.bootstraps import Json, endpoint, manager, static_cluster
from tests.server.running import eventually
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK

TLS = f"{URL}envoy.extensions.transport_sockets.tls.v3."
NAME = "rotated.test"


class Secrets:
    """A pair `own` and a bundle `ca`, with a control plane."""

    def __init__(self, world: Ads, directory: Path) -> None:
        self.world = world
        self.authority = Authority(directory)
        self.client = self.authority.issue("client", x509.DNSName(NAME))
        self._count = 0

    def put(self, *, broken: bool = False) -> int:
        """A new pair; gives its serial number."""
        self._count += 1
        chain_file, key_file = self.authority.issue(f"v{self._count}", x509.DNSName(NAME))
        if broken:
            key_file = self.authority.issue("other", x509.DNSName(NAME))[1]
        pair = {
            "certificate_chain": {"inline_string": Path(chain_file).read_text()},
            "private_key": {"inline_string": Path(key_file).read_text()},
        }
        trusted = {"trusted_ca": {"inline_string": self.authority.ca.read_text()}}
        self.world.put(
            SECRET,
            {"name": "own", "tls_certificate": pair},
            {"name": "ca", "validation_context": trusted},
        )
        return x509.load_pem_x509_certificate(Path(chain_file).read_bytes()).serial_number

    def context(self) -> Json:
        source = self.world.source(SECRET)
        names = {"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": NAME}}]}
        return {
            "tls_certificate_sds_secret_configs": [{"name": "own", "sds_config": source}],
            "combined_validation_context": {
                "default_validation_context": names,
                "validation_context_sds_secret_config": {"name": "ca", "sds_config": source},
            },
        }


@pytest.fixture(params=["sotw", "delta"])
def secrets(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Secrets]:
    world = Ads("GRPC" if request.param == "sotw" else "DELTA_GRPC")
    yield Secrets(world, tmp_path / "authority")
    world.close()


def outer_and_inner(secrets: Secrets, directory: Path, upstream: Upstream) -> None:
    """Plain text to `web`, mutual TLS from there to `inner`, and plain text to the upstream."""
    path = str(directory / "inner.sock")
    down = {
        "name": "tls",
        "typed_config": {
            "@type": f"{TLS}DownstreamTlsContext",
            "common_tls_context": secrets.context(),
            "require_client_certificate": True,
        },
    }
    up = {
        "name": "tls",
        "typed_config": {
            "@type": f"{TLS}UpstreamTlsContext",
            "common_tls_context": secrets.context(),
            "sni": NAME,
        },
    }
    to_inner = static_cluster("inner", {"endpoint": {"address": {"pipe": {"path": path}}}}, transport_socket=up)
    to_inner["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{URL}envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"max_requests_per_connection": 10},
            "explicit_http_config": {"http_protocol_options": {}},
        }
    }
    secrets.world.put(CLUSTER, to_inner, static_cluster("up", endpoint(upstream.port)))
    inner = web(0, chain(manager("inner", {"route": {"cluster": "up"}}), transport_socket=down), name="inner")
    inner["address"] = {"pipe": {"path": path}}
    front = web(0, chain(manager("front", {"route": {"cluster": "up"}}), transport_socket=down), name="front")
    secrets.world.put(LISTENER, web(0, chain(manager("web", {"route": {"cluster": "inner"}}))), inner, front)


def serial(port: int, secrets: Secrets) -> int:
    """Of the certificate that the listener shows. 0: it closes connections."""
    context = ssl.create_default_context(cafile=str(secrets.authority.ca))
    context.check_hostname = False
    context.load_cert_chain(*secrets.client)
    connection = http.client.HTTPSConnection(LOOPBACK, port, timeout=10, context=context)
    try:
        connection.connect()
        der = connection.sock.getpeercert(True)
    except OSError:
        return 0
    finally:
        connection.close()
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def test_certificates_come_and_change_under_load(
    secrets: Secrets,
    tmp_path: Path,
    upstream: Upstream,
    start: Start,  # noqa: F811
) -> None:
    first = secrets.put()
    outer_and_inner(secrets, tmp_path, upstream)
    proxy = start(secrets.world.bootstrap())
    front = proxy.port("front")
    assert serial(front, secrets) == first
    with Load(proxy.port("web")):
        second = secrets.put()
        eventually(lambda: serial(front, secrets) == second)
        secrets.put(broken=True)
        eventually(lambda: secrets.world.server.refusals)
        assert serial(front, secrets) == second
        third = secrets.put()
        eventually(lambda: serial(front, secrets) == third)
    assert "is not the key of the certificate" in secrets.world.server.refusals[0]
    assert "PRIVATE" not in proxy.said() + "".join(secrets.world.server.refusals)
    assert "PRIVATE" not in proxy.admin("/config_dump")[1]
    names = [one["name"] for one in secrets_of(proxy.admin("/config_dump?resource=dynamic_active_secrets")[1])]
    assert names == ["ca", "own"]


def secrets_of(text: str) -> list[Json]:
    import json

    found: list[Json] = json.loads(text)["configs"]
    return found


def test_listeners_wait_for_certificates(
    secrets: Secrets,
    tmp_path: Path,
    upstream: Upstream,
    start: Start,  # noqa: F811
) -> None:
    outer_and_inner(secrets, tmp_path, upstream)
    proxy = start(secrets.world.bootstrap(), ready=False)
    eventually(lambda: "target SDS own" in proxy.admin("/init_dump")[1])
    assert proxy.admin("/ready")[0] == 503
    own = secrets.put()
    eventually(proxy.ready)
    assert serial(proxy.port("front"), secrets) == own


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made
