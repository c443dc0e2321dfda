"""The mesh of the demo, from the services to who looks at them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from examples.demo.access_logs import AccessLogs
from examples.demo.collector import Collector
from examples.demo.layout import FAILING, LOOPBACK, NODES, SHOP, SIDECARS, Layout, Reserved, needed_ports
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
        self.processes = Processes(directory)
        self.services = {node: Service(node, SLOW[node.service]) for node in SIDECARS}
        self.collector = Collector()
        self.logs = AccessLogs(self.processes.access_log(node.name) for node in NODES)
        self.load = Load(self.layout.ports["gateway"])
        self.watch = Watch(self.processes.admins, SHOP.name, "catalog")

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
        xds, plane = await self._start_control_plane()
        bootstrap = self.layout.write_bootstrap(xds)
        for node in NODES:
            who = ("--service-cluster", node.service, "--service-node", node.name)
            await self.processes.start_proxy(node.name, bootstrap, *who)
        await self.processes.wait_for_admins()
        await self.watch.start()
        if not await self.load.works(PATIENCE):
            said = "\n".join(f"--- {node.name}\n{self.processes.said(node.name)}" for node in NODES)
            raise NotStarted(f"no request gets through the mesh\n{said}")
        await self.watch.look()
        self.story = Story(self.layout, self.logs, self.watch, self.collector, self.services[FAILING], plane)

    async def stop(self) -> None:
        await self.processes.stop()
        await self.watch.stop()
        for service in self.services.values():
            await service.stop()
        await self.collector.stop()
        self._reserved.close()

    async def _start_control_plane(self) -> tuple[int, str]:
        """Gives its port for proxies, and where its admin is."""
        words = ["control-plane", "--config", str(self.layout.file)]
        words += ["--xds", f"{LOOPBACK}:0", "--admin", f"{LOOPBACK}:0"]
        process = await self.processes.spawn("control-plane", words, None)
        assert process.stdout is not None
        try:
            line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
        except TimeoutError:
            line = ""
        found = re.search(r"xds \S+:(\d+), snapshot (http://\S+)/snapshot", line)
        if found is None:
            raise NotStarted(f"the control plane did not start:\n{self.processes.said('control-plane')}")
        return int(found[1]), found[2]
