"""What happens to the control plane is nothing that traffic notices."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.integration.mesh import Mesh
from tests.server.running import eventually
from tests.support.ports import LOOPBACK

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mesh")]


class Traffic:
    """Two clients that ask without a pause, on connections that stay open; keeps what was not a 200."""

    def __init__(self, port: int) -> None:
        self.wrong: list[str] = []
        self.count = 0
        self._port = port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def wait_for(self, more: int) -> None:
        """Until so many further requests have been answered."""
        target = self.count + more
        eventually(lambda: self.count >= target or bool(self.wrong))

    def _run(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=10)
        while not self._over.is_set():
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    self.wrong.append(f"{response.status} {body!r}")
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
                connection.close()
            self.count += 1
        connection.close()

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture(scope="module", params=["GRPC", "DELTA_GRPC"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    made = Mesh(tmp_path_factory.mktemp("mesh"), "pyproxy", "pyproxy", request.param)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def mesh(running: Mesh) -> Mesh:
    """As it was in the beginning."""
    running.write({"v1": 100, "v2": 0}, ["front"])
    eventually(lambda: [running.get("out") for _ in range(5)] == [(200, "v1")] * 5)
    return running


def test_a_control_plane_that_dies_and_comes_back(mesh: Mesh) -> None:
    with Traffic(mesh.ports["out"]) as traffic:
        traffic.wait_for(50)
        mesh.kill_plane()
        eventually(lambda: "control_plane.connected_state: 0" in mesh.admin("front", "/stats"))
        traffic.wait_for(50)
        mesh.restart_plane()
        eventually(lambda: "control_plane.connected_state: 1" in mesh.admin("front", "/stats"))
        mesh.write({"v1": 0, "v2": 100}, ["front"])
        eventually(lambda: mesh.get("out") == (200, "v2"))
        traffic.wait_for(50)
    assert traffic.wrong == []


def test_changes_in_quick_succession(mesh: Mesh) -> None:
    with Traffic(mesh.ports["out"]) as traffic:
        for turn in range(20):
            mesh.write({"v1": 100 - turn, "v2": turn + 1}, ["front"] if turn % 2 else ["front", "edge"])
            traffic.wait_for(20)
        mesh.write({"v1": 0, "v2": 100}, ["front"])
        eventually(lambda: mesh.get("out") == (200, "v2"))
    assert traffic.wrong == []


def test_certificates_that_change_all_the_time(mesh: Mesh) -> None:
    with Traffic(mesh.ports["out"]) as traffic:
        for _ in range(10):
            mesh.rotate()
            traffic.wait_for(20)
    assert traffic.wrong == []


def test_a_manager_that_dies_learns_everything_anew(mesh: Mesh) -> None:
    with Traffic(mesh.ports["out"]) as traffic:
        traffic.wait_for(50)
        pid = mesh.manager_of("front")
        os.kill(pid, signal.SIGKILL)
        traffic.wait_for(50)

        def connected() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return "control_plane.connected_state: 1" in mesh.admin("front", "/stats")
            return False

        eventually(lambda: mesh.manager_of("front") not in (0, pid) and connected())
        mesh.write({"v1": 0, "v2": 100}, ["front"])
        eventually(lambda: mesh.get("out") == (200, "v2"))
        traffic.wait_for(50)
    assert traffic.wrong == []
