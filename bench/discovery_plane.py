"""`python -m bench.discovery_plane DIRECTORY PORT`: serves what stands in the files of `bench.discovery`, over ADS.

A process of its own, so that its work is not taken for that of a proxy, nor for a wait of the client.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from grpclib.server import Server

from pyproxy.config.descriptors import message_class
from pyproxy.control_plane.server import ControlPlaneServer

LOOK_SECONDS = 0.02


class Files:
    """What `ControlPlaneServer` asks of its world: the resources by type and name."""

    def __init__(self, directory: Path) -> None:
        self.streams: dict[Any, None] = {}
        self.on_change = lambda: None
        self._directory = directory
        self._seen: dict[Path, int] = {}
        self._found: dict[str, dict[str, bytes]] = {}

    def resources(self, node_cluster: str, node_id: str) -> dict[str, dict[str, bytes]]:
        return self._found

    def look(self) -> bool:
        """Whether a file has changed since the last look."""
        changed = False
        for file in self._directory.glob("*.pb"):
            moment = file.stat().st_mtime_ns
            if self._seen.get(file) != moment:
                self._seen[file] = moment
                self._read(file)
                changed = True
        return changed

    def _read(self, file: Path) -> None:
        response: Any = message_class("envoy.service.discovery.v3.DiscoveryResponse").FromString(file.read_bytes())
        found: dict[str, bytes] = {}
        url = ""
        for one in response.resources:
            url = one.type_url
            message: Any = message_class(url.rpartition("/")[2]).FromString(one.value)
            found[getattr(message, "cluster_name", "") or message.name] = one.value
        self._found = {**self._found, url: found}


async def serve(directory: Path, port: int) -> None:
    files: Any = Files(directory)
    files.look()
    plane = ControlPlaneServer(files, directory / "mesh")
    server = Server([plane])
    await server.start("127.0.0.1", port)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if files.look():
            files.on_change()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
