"""Certificates that are replaced while there is traffic: the pair as one, behind a symbolic link, without an error."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.integration.upstream import Upstream
from tests.server.bootstraps import bootstrap, endpoint, listener, manager, static_cluster
from tests.server.running import Running, eventually
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
SECONDS = float(os.environ.get("ROTATION_SECONDS", "6"))
EVERY = float(os.environ.get("ROTATION_EVERY", "1"))
NAME = "rotated.test"


class Volume:
    """A folder whose files are swapped all at once, as Kubernetes mounts secrets: `..data` is a link."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        directory.mkdir()
        self._directory = directory
        self._authority = authority
        self._count = 0
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (directory / name).symlink_to(Path("..data") / name)
        self.put()

    def path(self, name: str) -> str:
        return str(self._directory / name)

    def put(self, *, broken: bool = False) -> int:
        """A new pair; `broken`: with a key that is another's. Gives the serial number."""
        self._count += 1
        made = self._directory / f"..{self._count}"
        made.mkdir()
        chain, key = self._authority.issue(f"v{self._count}", x509.DNSName(NAME))
        other = self._authority.issue("other", x509.DNSName(NAME))[1]
        shutil.copy(chain, made / "tls.crt")
        shutil.copy(other if broken else key, made / "tls.key")
        shutil.copy(self._authority.ca, made / "ca.crt")
        link = self._directory / "..new"
        link.symlink_to(made.name)
        link.rename(self._directory / "..data")
        return x509.load_pem_x509_certificate(Path(chain).read_bytes()).serial_number


def context_of(volume: Volume) -> dict[str, Any]:
    pair = {
        "certificate_chain": {"filename": volume.path("tls.crt")},
        "private_key": {"filename": volume.path("tls.key")},
    }
    names = [{"san_type": "DNS", "matcher": {"exact": NAME}}]
    trusted = {"trusted_ca": {"filename": volume.path("ca.crt")}, "match_typed_subject_alt_names": names}
    return {"tls_certificates": [pair], "validation_context": trusted}


def secrets_file(volume: Volume, path: Path) -> dict[str, Any]:
    """The same by SDS from a file."""
    context = context_of(volume)
    secret = {"@type": f"{TLS}Secret", "name": "own", "tls_certificate": context["tls_certificates"][0]}
    trusted = {
        "@type": f"{TLS}Secret",
        "name": "ca",
        "validation_context": {"trusted_ca": {"filename": volume.path("ca.crt")}},
    }
    path.write_text(json.dumps({"resources": [secret, trusted]}))
    source = {"path_config_source": {"path": str(path)}}
    names = {"match_typed_subject_alt_names": context["validation_context"]["match_typed_subject_alt_names"]}
    return {
        "tls_certificate_sds_secret_configs": [{"name": "own", "sds_config": source}],
        "combined_validation_context": {
            "default_validation_context": names,
            "validation_context_sds_secret_config": {"name": "ca", "sds_config": source},
        },
    }


class Load:
    """Clients that go on asking: some on one connection, some on a new one each time."""

    def __init__(self, port: int, volume: Volume) -> None:
        self._port = port
        self._volume = volume
        self._stop = threading.Event()
        self.requests = 0
        self.errors: list[str] = []
        self.serials: set[int] = set()
        self._threads = [threading.Thread(target=self._run, args=(keep,)) for keep in (True, True, False, False)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=self._volume.path("ca.crt"))
        context.check_hostname = False
        context.load_cert_chain(*CLIENT)
        connection = http.client.HTTPSConnection(LOOPBACK, self._port, timeout=10, context=context)
        connection.connect()
        der = connection.sock.getpeercert(True)
        self.serials.add(x509.load_der_x509_certificate(der).serial_number)
        return connection

    def _run(self, keep: bool) -> None:
        connection = None
        while not self._stop.is_set():
            try:
                connection = connection or self._connect()
                connection.request("GET", "/digest")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.errors.append(f"status {answer.status}")
                self.requests += 1
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                connection = None
            if connection is not None and not keep:
                connection.close()
                connection = None
            time.sleep(0.002)
        if connection is not None:
            connection.close()


CLIENT: tuple[str, str] = ("", "")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    global CLIENT
    authority = Authority(tmp_path / "own")
    CLIENT = authority.issue("client", x509.DNSName(NAME))
    return Volume(tmp_path / "volume", authority)


@pytest.fixture
def chain_of_two(
    tmp_path: Path, volume: Volume, upstream: Upstream, request: pytest.FixtureRequest
) -> Iterator[Running]:
    """A client speaks mutual TLS to the listener `outer`, that to `inner`, and that plain text to the upstream."""
    context = secrets_file(volume, tmp_path / "sds.json") if request.param == "sds" else context_of(volume)
    down = {
        "name": "tls",
        "typed_config": {
            "@type": f"{TLS}DownstreamTlsContext",
            "common_tls_context": context,
            "require_client_certificate": True,
        },
    }
    up = {
        "name": "tls",
        "typed_config": {"@type": f"{TLS}UpstreamTlsContext", "common_tls_context": context, "sni": NAME},
    }
    outer = listener("outer", 0, manager("outer", {"route": {"cluster": "inner"}}))
    inner = listener("inner", 0, manager("inner", {"route": {"cluster": "up"}}))
    path = str(tmp_path / "inner.sock")
    inner["address"] = {"pipe": {"path": path}}
    for one in (outer, inner):
        one["filter_chains"][0]["transport_socket"] = down
    hop = static_cluster(
        "inner",
        {"endpoint": {"address": {"pipe": {"path": path}}}},
        transport_socket=up,
        max_requests_per_connection=20,
    )
    proxy = Running.real(tmp_path, bootstrap([outer, inner], [hop, static_cluster("up", endpoint(upstream.port))]))
    eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
    assert proxy.process.poll() is None, proxy.said()
    yield proxy
    assert "Traceback" not in proxy.said()
    proxy.stop()


@pytest.mark.parametrize("chain_of_two", ["files", "sds"], indirect=True)
def test_rotation_under_load(chain_of_two: Running, volume: Volume) -> None:
    load = Load(chain_of_two.port("outer"), volume)
    put: set[int] = set()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(EVERY)
        put.add(volume.put())
    time.sleep(1.5)
    load.stop()
    assert load.errors == []
    assert load.requests > 100
    assert len(put & load.serials) >= len(put) // 2
    print(f"{load.requests} requests, {len(put)} rotations, {len(put & load.serials)} of them seen")


@pytest.mark.parametrize("chain_of_two", ["files"], indirect=True)
def test_a_pair_that_does_not_fit_changes_nothing(chain_of_two: Running, volume: Volume) -> None:
    bad = volume.put(broken=True)
    eventually(lambda: "cannot be used, so the old ones stay" in chain_of_two.said())
    load = Load(chain_of_two.port("outer"), volume)
    eventually(lambda: load.requests > 20 or load.errors)
    good = volume.put()
    eventually(lambda: good in load.serials or load.errors)
    load.stop()
    assert load.errors == []
    assert bad not in load.serials
    assert "private key" not in chain_of_two.said().lower().replace("private_key", "")
