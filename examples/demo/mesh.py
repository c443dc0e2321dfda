"""The mesh of the demo, from the services to who looks at them."""

from __future__ import annotations

from pathlib import Path

from examples.demo.access_logs import AccessLogs
from examples.demo.collector import Collector
from examples.demo.layout import FAILING, NODES, SIDECARS, Layout, Reserved, needed_ports
from examples.demo.load import Load
from examples.demo.processes import PATIENCE, NotStarted, Processes
from examples.demo.services import Service
from examples.demo.story import Story
from examples.demo.watch import Watch

SLOW = {"shop": 0.002, "catalog": 0.004, "stock": 0.002}
"""Mean seconds that a service takes to answer."""


class Mesh:
    """Everything that runs. `stop` may be called however far `start` came."""

    load: Load
    watch: Watch
    story: Story

    def __init__(self, directory: Path) -> None:
        names = needed_ports()
        self._reserved = Reserved(len(names))
        self.layout = Layout(directory, dict(zip(names, self._reserved.ports, strict=True)))
        self.processes = Processes(self.layout)
        self.services = {node: Service(node, SLOW[node.service]) for node in SIDECARS}
        self.collector = Collector()
        self.logs = AccessLogs(self.processes.access_log(node) for node in NODES)
        self.load = Load(self.layout.ports["gateway"])
        self.watch = Watch(self.processes.admins)

    async def start(self) -> None:
        """Until the first request gets through. Raises NotStarted."""
        ports = self.layout.ports
        await self.collector.start()
        ports["traces"] = self.collector.port
        for node, service in self.services.items():
            await service.start()
            ports[node.key] = service.port
            if node.calls:
                service.calls(ports[f"{node.key}_{node.calls}"])
        self.layout.write()
        await self.processes.start()
        await self.watch.start()
        failing, plane = self.services[FAILING], self.processes.plane
        self.story = Story(self.layout, self.logs, self.watch, self.collector, failing, plane)
        if not await self.load.works(PATIENCE):
            said = "\n".join(f"--- {node.name}\n{self.processes.said(node.name)}" for node in NODES)
            raise NotStarted(f"no request gets through the mesh\n{said}")
        await self.watch.look()

    async def stop(self) -> None:
        await self.processes.stop()
        await self.watch.stop()
        for service in self.services.values():
            await service.stop()
        await self.collector.stop()
        self._reserved.close()
