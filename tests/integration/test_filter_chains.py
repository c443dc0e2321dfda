"""Several filter chains of one listener, between real sockets."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

from tests.server.bootstraps import at, bootstrap, manager
from tests.server.running import Running, eventually
from tests.support.ports import LOOPBACK, free_ports


def _chain(name: str, match: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = {"direct_response": {"status": 200, "body": {"inline_string": name}}}
    chain = {"name": name, "filters": [manager(name, answer)]}
    return chain if match is None else {**chain, "filter_chain_match": match}


def _ask(port: int, source: str) -> bytes:
    with socket.create_connection((LOOPBACK, port), timeout=10, source_address=(source, 0)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        said = b""
        with contextlib.suppress(ConnectionResetError):
            said = b"".join(iter(lambda: sock.recv(65536), b""))
    return said.rpartition(b"\r\n")[2]


def test_each_connection_goes_to_its_chain(tmp_path: Path) -> None:
    one, two = free_ports(2)
    chains = [
        _chain("first", {"destination_port": one, "source_prefix_ranges": [_range("127.0.0.1", 32)]}),
        _chain("second", {"destination_port": two}),
    ]
    web = {"name": "web", "address": at(one), "additional_addresses": [{"address": at(two)}], "filter_chains": chains}
    proxy = Running.real(tmp_path, bootstrap([web], []), "--concurrency", "1")
    try:
        eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
        assert proxy.process.poll() is None, proxy.said()
        assert _ask(one, LOOPBACK) == b"first"
        assert _ask(two, "127.0.0.2") == b"second"
        assert _ask(one, "127.0.0.2") == b""
        eventually(lambda: "no_filter_chain_match: 1" in proxy.admin("/stats?filter=no_filter_chain_match")[1])
        assert "Traceback" not in proxy.said()
    finally:
        proxy.stop()


def _range(address: str, length: int) -> dict[str, Any]:
    return {"address_prefix": address, "prefix_len": length}
