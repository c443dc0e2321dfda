"""Who is in the mesh of the demo, on which ports, and the file that tells the control plane."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"
PORTS = range(10_000, 12_000)
"""Below those that the kernel gives to connections that go out."""


@dataclass(frozen=True, slots=True)
class Node:
    """One proxy: the gateway, or the sidecar of an instance. `calls` is the service that it calls."""

    name: str
    service: str
    version: str = ""
    calls: str = ""

    @property
    def key(self) -> str:
        """Of its ports."""
        return self.name.replace("-", "_")


EDGE = Node("edge-1", "edge")
SHOP = Node("shop-1", "shop", "v1", "catalog")
CATALOG_V1 = Node("catalog-v1-a", "catalog", "v1", "stock")
FAILING = Node("catalog-v1-b", "catalog", "v1", "stock")
CATALOG_V2 = Node("catalog-v2", "catalog", "v2", "stock")
STOCK = Node("stock-1", "stock", "v1")
NODES = (EDGE, SHOP, CATALOG_V1, FAILING, CATALOG_V2, STOCK)
SIDECARS = NODES[1:]

BEFORE = {"v1": 90, "v2": 10}
AFTER = {"v1": 50, "v2": 50}


class Reserved:
    """Free ports that no other process takes for free while these sockets are bound; a proxy shares them by
    SO_REUSEPORT, and only who listens gets connections."""

    def __init__(self, count: int) -> None:
        self._sockets: list[socket.socket] = []
        self.ports: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            if len(self.ports) == count:
                return
            self._reserve(port)
        raise OSError("no free ports")

    def _reserve(self, port: int) -> None:
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                return
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            held.bind((LOOPBACK, port))
        except OSError:
            held.close()
            return
        self._sockets.append(held)
        self.ports.append(port)

    def close(self) -> None:
        for held in self._sockets:
            held.close()


@dataclass(slots=True)
class Layout:
    """The ports by name, and the weights that are wanted now. Each `write` is seen by the control plane."""

    directory: Path
    ports: dict[str, int] = field(default_factory=dict)
    weights: Mapping[str, int] = field(default_factory=lambda: BEFORE)

    @property
    def file(self) -> Path:
        return self.directory / "mesh.yaml"

    def write(self) -> None:
        """Whoever reads it sees the old or the new file."""
        words = {**self.ports, **{f"weight_{version}": weight for version, weight in self.weights.items()}}
        beside = self.directory / "mesh.yaml.new"
        beside.write_text(Template((HERE / "mesh.yaml").read_text()).substitute(words))
        beside.rename(self.file)

    def write_bootstrap(self, xds: int) -> Path:
        """What all proxies are started with."""
        file = self.directory / "proxy.yaml"
        file.write_text(Template((HERE / "proxy.yaml").read_text()).substitute(xds=xds))
        return file


def needed_ports() -> list[str]:
    """The names of those that proxies listen on."""
    calls = [f"{node.key}_{node.calls}" for node in NODES if node.calls]
    return ["gateway", *(f"{node.key}_proxy" for node in SIDECARS), *calls]
