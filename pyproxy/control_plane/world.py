"""What the control plane knows at this moment: the mesh, the certificates it has given, the streams that are open."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.control_plane.mesh import Mesh
from pyproxy.control_plane.resources import KeyPair, Resources, resources_of
from pyproxy.control_plane.stream import ServedStream, version_of

log = logging.getLogger("pyproxy.control_plane")

DAY: Final = 86400.0
_RENEW_AFTER: Final = 0.5

Issue = Callable[[str, int], KeyPair]
"""(SPIFFE ID, days) -> a certificate. Raises NotIssued."""


class NotIssued(Exception):
    """There is no certificate to be had, and why."""


@dataclass(frozen=True, slots=True)
class _Issued:
    pair: KeyPair
    at: float
    days: int


class World:
    """`clock` gives seconds. `on_change` is called whenever what some proxy is to be told may have changed."""

    def __init__(self, issue: Issue, clock: Callable[[], float], on_change: Callable[[], None] = lambda: None) -> None:
        self.mesh = Mesh()
        self.generation = 0
        self.problem = ""
        """Why the file as it is now is not in use."""
        self.streams: dict[ServedStream, None] = {}
        self.on_change = on_change
        self._issue = issue
        self._clock = clock
        self._issued: dict[str, _Issued] = {}
        self._cache: dict[tuple[str, str], Resources] = {}

    def use(self, mesh: Mesh) -> None:
        """The file says something else now."""
        self.problem = ""
        if self.generation and mesh == self.mesh:
            return
        self.mesh = mesh
        self.generation += 1
        self._cache.clear()
        log.info("generation %d: %d services, %d gateways", self.generation, len(mesh.services), len(mesh.gateways))
        self.on_change()

    def rotate(self) -> None:
        """New certificates for everybody."""
        self._issued.clear()
        self._cache.clear()
        self.on_change()

    def renew(self) -> None:
        """New certificates for those whose certificates are half as old as they can get. Call it now and then."""
        now = self._clock()
        due = [name for name, one in self._issued.items() if now - one.at >= one.days * DAY * _RENEW_AFTER]
        for name in due:
            del self._issued[name]
        if due:
            self._cache.clear()
            self.on_change()

    def resources(self, node_cluster: str, node_id: str) -> Resources:
        """What a node is to be told now."""
        node = node_cluster, node_id
        found = self._cache.get(node)
        if found is None:
            found = self._cache[node] = resources_of(self.mesh, *node, self._pair(node_cluster))
        return found

    def snapshot(self) -> dict[str, Any]:
        """For people: the nodes, what each has, what it refused."""
        nodes = [self._node(stream) for stream in self.streams if stream.node is not None]
        return {
            "generation": self.generation,
            "problem": self.problem,
            "services": {name: list(one.versions) for name, one in self.mesh.services.items()},
            "gateways": list(self.mesh.gateways),
            "mtls": self.mesh.mtls,
            "nodes": sorted(nodes, key=lambda one: str(one["id"])),
        }

    def _pair(self, name: str) -> KeyPair | None:
        mesh = self.mesh
        if not mesh.mtls or not (name in mesh.services or name in mesh.gateways):
            return None
        held = self._issued.get(name)
        if held is None:
            try:
                pair = self._issue(mesh.spiffe_id(name), mesh.certificate_days)
            except NotIssued as error:
                self.problem = f"no certificate for {name}: {error}"
                log.warning("%s", self.problem)
                return None
            held = self._issued[name] = _Issued(pair, self._clock(), mesh.certificate_days)
        return held.pair

    def _node(self, stream: ServedStream) -> dict[str, Any]:
        cluster = stream.node.cluster
        return {
            "id": stream.node.id,
            "cluster": cluster,
            "known": cluster in self.mesh.services or cluster in self.mesh.gateways,
            "types": {
                type_url.rpartition(".")[2]: {
                    "resources": self._listing(stream.node, type_url, progress.versions),
                    "answered": progress.answered,
                    "refusal": progress.refusal,
                }
                for type_url, progress in stream.types.items()
            },
        }

    def _listing(self, node: Any, type_url: str, sent: Iterable[str]) -> dict[str, str]:
        """Name -> version. Never the content of a secret."""
        bodies = self.resources(node.cluster, node.id).get(type_url, {})
        return {name: version_of(bodies[name]) if name in bodies else "" for name in sent}
