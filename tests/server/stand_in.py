"""A proxy without a data path, to test the life of its processes: `python -m tests.server.stand_in <how> <flags>`.

Each worker answers a connection with its pid and keeps it until its peer leaves. `how` says how the workers behave.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from typing import Any

from pyproxy.config.address import AddressConfig
from pyproxy.config.bootstrap import AdminConfig, BootstrapConfig
from pyproxy.config.descriptors import message_class
from pyproxy.config.invalid import Report
from pyproxy.config.listener import ListenerConfig
from pyproxy.config.positions import Positions
from pyproxy.server.blueprint import WorkerSeat
from pyproxy.server.configuration import Configuration
from pyproxy.server.flags import Options
from pyproxy.server.launch import prepare, start_log
from pyproxy.server.supervisor import Supervisor, start_manager
from pyproxy.server.worker import CannotStart, MakePlane, run_worker
from pyproxy.telemetry.exports import Exports

PR_SET_CHILD_SUBREAPER = 36
LOOPBACK = "127.0.0.1"
ADMIN_PIPE = os.environ.get("STAND_IN_ADMIN", "")
BOOTSTRAP = BootstrapConfig(
    admin=AdminConfig(AddressConfig(pipe=ADMIN_PIPE) if ADMIN_PIPE else AddressConfig(LOOPBACK)),
    listeners=(
        ListenerConfig("web", (AddressConfig(LOOPBACK),)),
        ListenerConfig("inside", (AddressConfig(LOOPBACK),), traffic_direction="INBOUND", reuse_port=False),
    ),
)


class Greeter(asyncio.Protocol):
    """Says its pid."""

    def __init__(self, plane: StandInPlane) -> None:
        self.plane = plane
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.plane.open.add(self)
        transport.write(f"{os.getpid()}\n".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self.plane.open.discard(self)


class StandInPlane:
    """Implements `server.worker.Plane`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seat: WorkerSeat) -> None:
        self.loop = loop
        self.exports = Exports()
        self.seat = seat
        self.open: set[Greeter] = set()
        self.servers: dict[str, asyncio.AbstractServer] = {}
        self.told: list[str] = []

    async def start(self) -> None:
        for key, sock in self.seat.blueprint.sockets.of_worker(self.seat.index).items():
            self.servers[key.partition("#")[0]] = await self.loop.create_server(lambda: Greeter(self), sock=sock)

    def status(self) -> dict[str, Any]:
        return {"connections": len(self.open)}

    def clusters(self, start: int, count: int) -> list[dict[str, Any]]:
        return []

    def tick(self, interval: float) -> None:
        pass

    def outbox(self) -> Exports:
        return self.exports

    def reopen_logs(self) -> None:
        print("reopened", os.getpid(), flush=True)

    def fail_health_checks(self, failed: bool) -> None:
        print("health failed" if failed else "health ok", os.getpid(), flush=True)

    def ask_to_leave(self, names: list[str]) -> None:
        print("ask to leave", *names, os.getpid(), flush=True)

    def resources_changed(self) -> None: ...

    def can_ask(self, ask: Any) -> None: ...

    async def stop_listeners(self, names: list[str]) -> None:
        for name in names:
            self.servers.pop(name).close()

    async def drain(self, seconds: float) -> None:
        for server in self.servers.values():
            server.close()
        while self.open:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        for greeter in self.open:
            assert greeter.transport is not None
            greeter.transport.abort()


class Unbuildable(StandInPlane):
    async def start(self) -> None:
        raise CannotStart("the access log cannot be opened")


class DiesAtOnce(StandInPlane):
    async def start(self) -> None:
        os._exit(9)


class LeavesOrphans(StandInPlane):
    async def start(self) -> None:
        await super().start()
        if os.fork() == 0:
            if os.fork() == 0:
                os.execv("/bin/true", ["true"])
            os._exit(0)


class NeverReady(StandInPlane):
    async def start(self) -> None:
        await asyncio.get_running_loop().create_future()


HOW: dict[str, MakePlane] = {
    "well": StandInPlane,
    "unbuildable": Unbuildable,
    "dies": DiesAtOnce,
    "waits": NeverReady,
    "orphans": LeavesOrphans,
}


def main() -> int:
    # What process 1 of a container is to everybody: the one that orphans go to.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    make_plane = HOW[sys.argv[1]]
    options = Options.parse(sys.argv[2:])
    configuration = Configuration(
        message_class("envoy.config.bootstrap.v3.Bootstrap")(), BOOTSTRAP, Report(), Positions(())
    )
    blueprint = prepare(options, configuration, start_log(options))
    return Supervisor(blueprint, lambda seat: run_worker(seat, make_plane), start_manager).run()


if __name__ == "__main__":
    sys.exit(main())
