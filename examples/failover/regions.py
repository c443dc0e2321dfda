"""The world of the example: eight instances of a service in four zones of three regions, and one proxy before them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

from examples.demo.access_logs import AccessLogs
from examples.demo.layout import LOOPBACK, Node, Reserved
from examples.demo.load import Load
from examples.demo.processes import PATIENCE, NotStarted, Processes
from examples.demo.services import Service
from examples.demo.watch import Watch

EDGE = "edge"
SLOW = {"eu": 0.002, "us": 0.02, "ap": 0.04}
"""Mean seconds to an answer: other regions are far away."""


@dataclass(frozen=True, slots=True)
class Zone:
    """`weight` is among the zones of its region."""

    region: str
    name: str
    priority: int
    weight: int

    @property
    def hosts(self) -> tuple[Node, ...]:
        return tuple(Node(f"{self.name}-{number}", "shop") for number in (1, 2))


ZONES = (Zone("eu", "eu-a", 0, 75), Zone("eu", "eu-b", 0, 25), Zone("us", "us-a", 1, 100), Zone("ap", "ap-a", 2, 100))


class World:
    """Everything that runs. `stop` may be called however far `start` came."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._reserved = Reserved(1)
        self.port = self._reserved.ports[0]
        self.services = {node: Service(node, SLOW[zone.region]) for zone in ZONES for node in zone.hosts}
        self.processes = Processes(directory)
        self.logs = AccessLogs([self.processes.access_log(EDGE)])
        self.watch = Watch(self.processes.admins, EDGE, "shop")
        self.load = Load(self.port)
        self.zone_of: dict[str, Zone] = {}
        """By the address of a host."""

    async def start(self) -> None:
        """Until a request gets through. Raises NotStarted."""
        ports = {"gateway": self.port}
        for node, service in self.services.items():
            await service.start()
            ports[node.key] = service.port
        for zone in ZONES:
            self.zone_of.update((self.address(node), zone) for node in zone.hosts)
        bootstrap = self._directory / "failover.yaml"
        text = (Path(__file__).parent / "failover.yaml").read_text()
        bootstrap.write_text(Template(text).substitute(ports))
        await self.processes.start_proxy(EDGE, bootstrap)
        await self.processes.wait_for_admins()
        await self.watch.start()
        if not await self.load.works(PATIENCE):
            raise NotStarted(f"no request gets through\n{self.processes.said(EDGE)}")
        await self.watch.look()

    async def stop(self) -> None:
        await self.processes.stop()
        await self.watch.stop()
        for service in self.services.values():
            await service.stop()
        self._reserved.close()

    def address(self, node: Node) -> str:
        return f"{LOOPBACK}:{self.services[node].port}"

    def fail(self, *names: str) -> None:
        """These hosts, zones and regions answer 503, all others are well."""
        for node, service in self.services.items():
            zone = self.zone_of[self.address(node)]
            service.ill = bool({node.name, zone.name, zone.region} & set(names))
