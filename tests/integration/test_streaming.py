"""Bodies of any size go through, byte by byte the same, and the proxy holds only a little of them at a time."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.conftest import Start
from tests.integration.downstream import Downstream
from tests.integration.memory import Peak
from tests.integration.upstream import BLOCK, Upstream
from tests.server.running import eventually

MB = 1 << 20
FLAT = 20 * MB


def test_bodies_of_all_sizes_come_back_as_they_were(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    port = proxy.port("web")

    def downstream(seed: int) -> int:
        rng = random.Random(seed)
        count = 0
        with Downstream(port) as connection:
            for _ in range(15):
                size = rng.choice([0, 1, 100, 4095, 4097, 65_536, rng.randrange(1, 200_000), rng.randrange(1_000_000)])
                body = rng.randbytes(size)
                with Downstream(port) as other:  # an answer that begins before the request is over ends its connection
                    assert other.request("POST", "/echo", body) == (200, body), (seed, size)
                digest = hashlib.sha256(body).hexdigest().encode()
                assert connection.request("POST", "/digest", body) == (200, digest)
                count += 2
        return count

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(downstream, range(8))) == 240


def test_chunks_cut_anywhere_come_back_as_they_were(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    rng = random.Random(4)
    for _ in range(15):
        with Downstream(proxy.port("web")) as connection:
            pieces = [rng.randbytes(rng.choice([1, 10, 5000, 70_000])) for _ in range(rng.randrange(1, 12))]
            wire = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            connection.begin("POST", "/echo", "transfer-encoding: chunked")
            at = 0
            while at < len(wire):
                size = rng.choice([1, 3, 1000, 50_000])
                connection.socket.sendall(wire[at : at + size])
                at += size
            status, fields = connection.head()
            assert (status, b"".join(connection.body(fields))) == (200, b"".join(pieces))


def test_a_slow_reader_slows_the_upstream_and_not_the_memory(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    with Peak(proxy.children()["pyproxy-wrk:0"]) as peak:
        readers = [Downstream(proxy.port("web"), receive_buffer=4096) for _ in range(10)]
        for reader in readers:
            reader.begin("GET", f"/bytes/{64 * MB}")
            assert reader.head()[0] == 200
        time.sleep(1)
        with Downstream(proxy.port("web")) as quick:
            assert quick.request("GET", "/digest")[0] == 200
        for reader in readers:
            reader.socket.close()
    assert peak.growth < FLAT
    eventually(lambda: "upstream_rq_active: 0" in proxy.admin("/stats?filter=cluster.up.upstream_rq_active")[1])


def test_a_slow_upstream_slows_the_downstream_and_not_the_memory(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    size = 64 * MB
    sent = 0
    with Downstream(proxy.port("web")) as connection, Peak(proxy.children()["pyproxy-wrk:0"]) as peak:
        connection.begin("POST", "/gated", f"content-length: {size}")
        connection.socket.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += connection.socket.send(BLOCK)
        assert sent < size / 2
        upstream.gate.set()
        connection.socket.settimeout(30)
        while sent < size:
            sent += connection.socket.send(BLOCK[: min(len(BLOCK), size - sent)])
        assert connection.head()[0] == 200
    assert upstream.received == size
    assert peak.growth < FLAT


@pytest.mark.slow
def test_two_gigabytes_up_and_down_in_little_memory(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    size = 2 << 30
    worker = proxy.children()["pyproxy-wrk:0"]
    with Downstream(proxy.port("web")) as connection, Peak(worker) as peak:
        connection.begin("GET", f"/bytes/{size}")
        status, fields = connection.head()
        assert status == 200
        assert sum(map(len, connection.body(fields))) == size
    assert peak.growth < FLAT
    with Downstream(proxy.port("web")) as connection, Peak(worker) as peak:
        connection.begin("POST", "/sink", f"content-length: {size}")
        block = BLOCK * 4
        for _ in range(size // len(block)):
            connection.socket.sendall(block)
        assert connection.head()[0] == 200
    assert upstream.received == size
    assert peak.growth < FLAT


def test_an_upload_is_answered_while_it_comes(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    with Downstream(proxy.port("web")) as connection:
        connection.begin("POST", "/echo", f"content-length: {16 * MB}")
        writer = threading.Thread(target=connection.socket.sendall, args=(bytes(16 * MB),))
        writer.start()
        status, fields = connection.head()
        assert status == 200
        assert sum(map(len, connection.body(fields))) == 16 * MB
        writer.join()


def test_whoever_expects_100_gets_it_before_sending(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    with Downstream(proxy.port("web")) as connection:
        connection.begin("POST", "/echo", "content-length: 4", "expect: 100-continue")
        assert connection.head() == (100, {})
        connection.socket.sendall(b"data")
        status, fields = connection.head()
        assert (status, b"".join(connection.body(fields))) == (200, b"data")
