"""HTTP/2 through whole proxies: every translation, bodies of any size with resets in between, draining, h2spec."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pyproxy.http.engines import H2_ENGINE
from tests.integration.downstream import Downstream
from tests.integration.h2_client import H2Client
from tests.integration.memory import Peak
from tests.integration.upstream import Upstream
from tests.server.bootstraps import HELLO, bootstrap, endpoint, listener, manager, static_cluster
from tests.server.running import Running, eventually
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ROOT

MB = 1 << 20
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ENGINES = {"fast": {}, "pure": {"PYPROXY_PURE": "1"}}
Start = Callable[..., Running]


def h2_options(**http2: Any) -> dict[str, Any]:
    typed = {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": http2},
    }
    return {"typed_extension_protocol_options": {OPTIONS: typed}}


@pytest.fixture(params=ENGINES)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """A proxy with a listener `web` that goes to itself by HTTP/2, at `inner`, and from there to the upstream."""
    started: list[Running] = []

    def begin(port: int, **http2: Any) -> Running:
        (inner,) = free_ports(1)
        up = {"route": {"cluster": "up", "timeout": "0s"}}
        again = {"route": {"cluster": "again", "timeout": "0s"}}
        made = bootstrap(
            [
                listener("web", 0, manager("web", again, http2_protocol_options=http2)),
                listener("inner", inner, manager("inner", up, codec_type="HTTP2")),
                listener("hello", 0, manager("hello", HELLO, codec_type="HTTP2")),
            ],
            [
                static_cluster("up", endpoint(port)),
                static_cluster("again", endpoint(inner), **h2_options(**http2)),
            ],
        )
        file = tmp_path / "bootstrap.json"
        file.write_text(json.dumps(made))
        command = ["pyproxy", "-c", str(file), "--concurrency", "1"]
        proxy = Running(tmp_path, command, **ENGINES[request.param])
        started.append(proxy)
        eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
        assert proxy.process.poll() is None, proxy.said()
        assert f"HTTP/2 {'h2' if request.param == 'pure' else H2_ENGINE}" in proxy.said()
        return proxy

    yield begin
    for proxy in started:
        assert "Traceback" not in proxy.said()
        proxy.stop()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def settled(proxy: Running) -> None:
    """Nothing is left of what went through."""

    def nothing_left() -> bool:
        text = proxy.admin("/stats?filter=rq_active$")[1]
        return text != "" and all(line.endswith(": 0") for line in text.splitlines() if "http.admin." not in line)

    eventually(nothing_left)


def test_all_translations(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    port = proxy.port("web")
    body = random.Random(1).randbytes(300_000)
    digest = hashlib.sha256(body).hexdigest().encode()
    with Downstream(port) as http1:
        assert http1.request("POST", "/digest", body) == (200, digest)
    with Downstream(port) as http1:
        assert http1.request("POST", "/echo", body) == (200, body)
    with H2Client(port) as http2:
        assert http2.request("POST", "/digest", body) == (200, digest)
        assert http2.request("POST", "/echo", body) == (200, body)
        assert http2.request("GET", "/bytes/1000000")[1] == (bytes(range(256)) * 256 * 16)[:1_000_000]


def test_bodies_of_all_sizes_at_once_with_resets(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    port = proxy.port("web")

    def downstream(seed: int) -> int:
        rng = random.Random(seed)
        whole = 0
        with H2Client(port) as client:
            bodies: dict[int, bytes] = {}
            gone: set[int] = set()
            for _ in range(40):
                size = rng.choice([0, 1, 100, 16_384, 16_385, 65_536, rng.randrange(200_000)])
                body = rng.randbytes(size)
                stream = client.begin("POST", "/echo", body)
                bodies[stream] = body
                if rng.random() < 0.1:
                    client.reset(stream)
                    gone.add(stream)
            for stream, body in bodies.items():
                if stream not in gone:
                    assert client.finish(stream) == (200, body), (seed, stream)
                    whole += 1
        return whole

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(downstream, range(4))) > 120
    settled(proxy)


def test_a_slow_reader_slows_the_upstream_and_not_the_memory(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    with Peak(proxy.children()["pyproxy-wrk:0"]) as peak:
        readers = [H2Client(proxy.port("web"), window=65_535) for _ in range(5)]
        for reader in readers:
            for _ in range(4):
                reader.begin("GET", f"/bytes/{64 * MB}")
        time.sleep(1)
        with H2Client(proxy.port("web")) as quick:
            assert quick.request("GET", "/digest")[0] == 200
        for reader in readers:
            reader.close()
    assert peak.growth < 30 * MB
    settled(proxy)


def test_more_requests_than_an_upstream_takes_at_a_time(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port, max_concurrent_streams=3)
    with H2Client(proxy.port("web")) as client:
        for _ in range(10):
            streams = [client.begin("GET", "/slow") for _ in range(3)]
            assert [client.finish(stream)[0] for stream in streams] == [200] * 3
    clients = [H2Client(proxy.port("web")) for _ in range(5)]
    for client in clients:
        for _ in range(3):
            client.begin("GET", "/slow")
    for client in clients:
        assert [client.finish(stream)[0] for stream in (1, 3, 5)] == [200] * 3
        client.close()

    def opened() -> int:
        return int(proxy.admin("/stats?filter=cluster.again.upstream_cx_http2_total")[1].rpartition(" ")[2])

    eventually(lambda: opened() >= 5)
    assert opened() <= 15


def test_a_proxy_that_leaves_finishes_what_it_has(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    with H2Client(proxy.port("web")) as client:
        assert client.request("GET", "/digest")[0] == 200
        stream = client.begin("GET", "/slow")
        proxy.process.terminate()
        assert client.finish(stream)[0] == 200
        assert client.wait_for_goaway() == 0
    assert proxy.process.wait(30) == 0


def secured(authority: Authority, *alpn: str) -> dict[str, Any]:
    chain, key = authority.issue("server")
    certificate = {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
    typed = {
        "@type": f"{TLS}DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [certificate], "alpn_protocols": list(alpn)},
    }
    return {"name": "tls", "typed_config": typed}


def by_alpn(**fields: Any) -> dict[str, Any]:
    typed = {"@type": f"type.googleapis.com/{OPTIONS}", "auto_config": {"http2_protocol_options": {}, **fields}}
    tls = {"name": "tls", "typed_config": {"@type": f"{TLS}UpstreamTlsContext"}}
    return {"typed_extension_protocol_options": {OPTIONS: typed}, "transport_socket": tls}


@pytest.mark.parametrize("alpn", [("h2", "http/1.1"), ("http/1.1",)], ids=["h2", "http1"])
def test_what_is_agreed_on_by_alpn(tmp_path: Path, upstream: Upstream, alpn: tuple[str, ...]) -> None:
    authority = Authority(tmp_path / "own")
    (inner,) = free_ports(1)
    up = {"route": {"cluster": "up"}}
    web = listener("web", 0, manager("web", {"route": {"cluster": "again"}}))
    web["filter_chains"][0]["transport_socket"] = secured(authority, "h2", "http/1.1")
    second = listener("inner", inner, manager("inner", up))
    second["filter_chains"][0]["transport_socket"] = secured(authority, *alpn)
    clusters = [static_cluster("up", endpoint(upstream.port)), static_cluster("again", endpoint(inner), **by_alpn())]
    proxy = Running.real(tmp_path, bootstrap([web, second], clusters), "--concurrency", "1")
    try:
        eventually(proxy.ready)
        context = ssl.create_default_context(cafile=str(authority.ca))
        context.check_hostname = False
        offered = ssl.create_default_context(cafile=str(authority.ca))
        offered.check_hostname = False
        offered.set_alpn_protocols(["h2"])
        body = random.Random(2).randbytes(200_000)
        # By prior knowledge too: some clients speak HTTP/2 without having agreed on it.
        for tls in (offered, context):
            with H2Client(proxy.port("web"), tls=tls) as client:
                for _ in range(3):
                    assert client.request("POST", "/echo", body) == (200, body)
        wanted = "http2" if "h2" in alpn else "http1"
        other = "http1" if "h2" in alpn else "http2"

        def counted() -> bool:
            text = proxy.admin("/stats?filter=cluster.again.upstream_cx_http")[1]
            return f"upstream_cx_{wanted}_total: 0" not in text and f"upstream_cx_{other}_total: 0" in text

        eventually(counted)
        assert "Traceback" not in proxy.said()
    finally:
        proxy.stop()


def find_h2spec() -> str | None:
    local = ROOT / ".cache" / "h2spec"
    return os.environ.get("H2SPEC") or shutil.which("h2spec") or (str(local) if local.exists() else None)


# What h2 sees otherwise than the specification's tests do, by the number of the test.
EXCEPTIONS: dict[str, frozenset[str]] = {"fast": frozenset(), "pure": frozenset()}


def test_h2spec(start: Start, upstream: Upstream, request: pytest.FixtureRequest) -> None:
    h2spec = find_h2spec()
    if h2spec is None:
        pytest.skip(
            "no h2spec: GOBIN=$PWD/.cache go install github.com/summerwind/h2spec/cmd/h2spec@latest, or set H2SPEC"
        )
    proxy = start(upstream.port)
    port = proxy.port("inner")
    command = [h2spec, "-h", LOOPBACK, "-p", str(port), "-P", "/digest", "-S", "-o", "2"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False).stdout
    tests, passed = map(int, re.findall(r"(\d+) tests, (\d+) passed", said)[-1])
    assert tests >= 146
    failed = said.partition("Failures:")[2]
    assert tests - passed == 0, failed
