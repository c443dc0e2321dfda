"""A proxy that learns what to do while it runs, from files and from a control plane, under load."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.upstream import Upstream
from tests.integration.worlds import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    RUNTIME,
    Ads,
    Files,
    World,
    assignment,
    chain,
    eds_cluster,
    rds_manager,
    routes,
    to_cluster,
    web,
)
from tests.server.bootstraps import Json, manager
from tests.server.running import Running, eventually
from tests.support.ports import LOOPBACK, free_ports

WORLDS = ("files", "sotw", "delta")
Start = Callable[..., Running]


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made: World
    if request.param == "files":
        (tmp_path / "resources").mkdir()
        made = Files(tmp_path / "resources")
    else:
        made = Ads("GRPC" if request.param == "sotw" else "DELTA_GRPC")
    yield made
    made.close()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "resources").mkdir()
    return Files(tmp_path / "resources")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def begin(bootstrap: Json, *flags: str, ready: bool = True, workers: int = 2) -> Running:
        proxy = Running.real(tmp_path, bootstrap, "--concurrency", str(workers), "--drain-time-s", "2", *flags)
        started.append(proxy)
        eventually(lambda: answers(proxy) or proxy.process.poll() is not None)
        assert proxy.process.poll() is None, proxy.said()
        if ready:
            eventually(proxy.ready)
        return proxy

    yield begin
    for proxy in started:
        said = proxy.said()
        proxy.stop()
        assert "Traceback" not in said, said


def answers(proxy: Running) -> bool:
    try:
        return bool(proxy.admin("/server_info")[0])
    except (OSError, http.client.HTTPException, ValueError):
        return False


def get(port: int, path: str = "/") -> tuple[int, str]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def status(port: int) -> int:
    """0 where nobody answers."""
    try:
        return get(port)[0]
    except (OSError, http.client.HTTPException):
        return 0


def stat(proxy: Running, name: str) -> int:
    for line in proxy.admin(f"/stats?filter=^{name}$")[1].splitlines():
        return int(line.rpartition(": ")[2])
    return 0


def dump(proxy: Running, resource: str) -> list[Json]:
    found: list[Json] = json.loads(proxy.admin(f"/config_dump?resource={resource}")[1]).get("configs", [])
    return found


def fill(world: World, upstream: Upstream, *, name: str = "a") -> None:
    world.put(ENDPOINTS, assignment(name, upstream.port))
    world.put(CLUSTER, eds_cluster(world, name))
    world.put(ROUTES, routes("r", to_cluster(name)))
    world.put(LISTENER, web(0, chain(rds_manager(world, "web", "r"))))


class Load:
    """Clients that go on asking: some on one connection, some on a new one each time. What is not 200 is an error."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.requests = 0
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(keep,)) for keep in (True, True, False)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Load:
        eventually(lambda: self.requests > 10 or self.errors)
        return self

    def __exit__(self, *_: object) -> None:
        before = self.requests
        eventually(lambda: self.requests > before + 10 or self.errors)
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        assert self.errors == []

    def _run(self, keep: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            try:
                connection = connection or http.client.HTTPConnection(LOOPBACK, self._port, timeout=10)
                connection.request("GET", "/digest")
                answered = connection.getresponse()
                answered.read()
                if answered.status != 200:
                    self.errors.append(f"status {answered.status}")
                self.requests += 1
                closed = answered.getheader("connection") == "close"
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                closed = True
            if connection is not None and (closed or not keep):
                connection.close()
                connection = None
            time.sleep(0.002)
        if connection is not None:
            connection.close()


def test_everything_is_learnt_and_changes_while_requests_are_served(
    world: World, upstream: Upstream, other: Upstream, start: Start
) -> None:
    fill(world, upstream)
    proxy = start(world.bootstrap())
    port = proxy.port("web")
    assert get(port, "/digest")[0] == 200
    with Load(port):
        world.put(ENDPOINTS, assignment("a", upstream.port, other.port))
        eventually(lambda: other.requests["GET /digest"] > 0)
        world.put(ENDPOINTS, assignment("a", other.port))
        world.put(CLUSTER, eds_cluster(world, "a", connect_timeout="3s"))
        eventually(lambda: "3s" in str(dump(proxy, "dynamic_active_clusters")))
        world.put(ENDPOINTS, assignment("a", other.port), assignment("b", upstream.port))
        world.put(CLUSTER, eds_cluster(world, "a", connect_timeout="3s"), eds_cluster(world, "b"))
        eventually(lambda: len(dump(proxy, "dynamic_active_clusters")) == 2)
        before = upstream.requests["GET /digest"]
        world.put(ROUTES, routes("r", to_cluster("b")))
        eventually(lambda: upstream.requests["GET /digest"] > before)
        world.put(CLUSTER, eds_cluster(world, "b"))
        eventually(lambda: stat(proxy, "cluster_manager.cluster_removed") == 1)
        changed = rds_manager(world, "web", "r", server_name="another")
        world.put(LISTENER, web(0, chain(changed)))
        eventually(lambda: stat(proxy, "listener_manager.listener_modified") == 1)
        eventually(lambda: "another" in _server(port))
    assert get(port, "/digest")[0] == 200
    world.put(LISTENER)
    eventually(lambda: status(port) == 0)
    eventually(lambda: stat(proxy, "listener_manager.total_listeners_active") == 0)


def _server(port: int) -> str:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    connection.request("GET", "/digest")
    answered = connection.getresponse()
    answered.read()
    connection.close()
    return answered.getheader("server") or ""


def test_what_is_refused_changes_nothing_and_is_told(
    world: World, upstream: Upstream, other: Upstream, start: Start
) -> None:
    fill(world, upstream)
    proxy = start(world.bootstrap())
    port = proxy.port("web")
    world.put(CLUSTER, eds_cluster(world, "a", connect_timeout="0s"), eds_cluster(world, "good"))
    eventually(lambda: any("error_state" in one for one in dump(proxy, "dynamic_active_clusters")))
    (bad,) = [one for one in dump(proxy, "dynamic_active_clusters") if "error_state" in one]
    assert bad["error_state"]["details"] == "connect_timeout: is 0s; expected a value greater than 0s"
    assert bad["cluster"]["connect_timeout"] == "1s"
    eventually(lambda: stat(proxy, "cluster_manager.cds.update_rejected") == 1)
    unknown = {"name": "x", "typed_config": {"@type": "type.googleapis.com/envoy.config.core.v3.Node"}}
    world.put(LISTENER, web(0, {"filters": [unknown]}))
    eventually(lambda: stat(proxy, "listener_manager.lds.update_rejected") == 1)
    assert get(port, "/digest")[0] == 200
    if isinstance(world, Ads):
        eventually(lambda: len(world.server.refusals) >= 2)
        assert "connect_timeout: is 0s" in world.server.refusals[0]
        assert "a" in world.server.refusals[0]
    fill(world, upstream)
    eventually(lambda: not any("error_state" in one for one in dump(proxy, "dynamic_listeners")))


def test_a_worker_and_a_manager_that_die_find_the_present_state(
    world: World, upstream: Upstream, other: Upstream, start: Start
) -> None:
    fill(world, upstream)
    proxy = start(world.bootstrap(), workers=1)
    port = proxy.port("web")
    world.put(ENDPOINTS, assignment("a", other.port))
    eventually(lambda: get(port, "/digest")[0] == 200 and other.requests["GET /digest"] > 0)
    os.kill(proxy.children()["pyproxy-wrk:0"], signal.SIGKILL)
    before = other.requests["GET /digest"]
    eventually(lambda: status(port) in (200, 404) and get(port, "/digest")[0] == 200)
    assert other.requests["GET /digest"] > before
    os.kill(proxy.children()["pyproxy-manager"], signal.SIGKILL)
    assert get(port, "/digest")[0] == 200
    world.put(ENDPOINTS, assignment("a", upstream.port))
    before = upstream.requests["GET /digest"]
    eventually(lambda: get(port, "/digest")[0] == 200 and upstream.requests["GET /digest"] > before)
    eventually(proxy.ready)
    os.kill(proxy.children()["pyproxy-wrk:0"], signal.SIGKILL)
    eventually(lambda: status(port) in (200, 404) and get(port, "/digest")[0] == 200)


def test_listeners_wait_for_routes_and_clusters_for_hosts(
    world: World, upstream: Upstream, other: Upstream, start: Start
) -> None:
    world.put(CLUSTER, eds_cluster(world, "a"))
    world.put(LISTENER, web(0, chain(rds_manager(world, "web", "r"))))
    proxy = start(world.bootstrap(), ready=False)
    if isinstance(world, Files):  # what is not in a file need not be waited for
        eventually(proxy.ready)
        assert status(proxy.port("web")) == 404
        world.put(ROUTES, routes("r", to_cluster("a")))
        eventually(lambda: status(proxy.port("web")) == 503)
        return
    eventually(lambda: "target EDS a" in proxy.admin("/init_dump")[1])
    assert proxy.admin("/ready") == (503, "PRE_INITIALIZING")
    world.put(ENDPOINTS, assignment("a", upstream.port))
    eventually(lambda: "target RDS r" in proxy.admin("/init_dump")[1])
    assert proxy.admin("/ready") == (503, "INITIALIZING")
    assert stat(proxy, "listener_manager.total_listeners_warming") == 1
    assert dump(proxy, "dynamic_listeners")[0]["warming_state"]["listener"]["name"] == "web"
    world.put(ROUTES, routes("r", to_cluster("a")))
    eventually(proxy.ready)
    assert get(proxy.port("web"), "/digest")[0] == 200
    assert json.loads(proxy.admin("/init_dump")[1]) == {}


def test_self_is_where_the_cluster_itself_comes_from(upstream: Upstream, start: Start) -> None:
    world = Ads("GRPC")
    try:
        fill(world, upstream)
        cluster = eds_cluster(world, "a")
        cluster["eds_cluster_config"]["eds_config"] = {"self": {}, "resource_api_version": "V3"}
        world.put(CLUSTER, cluster)
        proxy = start(world.bootstrap())
        assert get(proxy.port("web"), "/digest")[0] == 200
    finally:
        world.close()


def test_nothing_is_waited_for_longer_than_its_time(start: Start) -> None:
    world = Ads("GRPC")
    late = eds_cluster(world, "a")
    late["eds_cluster_config"]["eds_config"]["initial_fetch_timeout"] = "0.2s"
    world.put(CLUSTER, late)
    world.put(LISTENER, web(0, chain(manager("web", {"route": {"cluster": "a"}}))))
    try:
        proxy = start(world.bootstrap())
        assert stat(proxy, "cluster.a.init_fetch_timeout") == 1
        assert status(proxy.port("web")) == 503
    finally:
        world.close()


def test_connections_on_unchanged_filter_chains_live_on(files: Files, start: Start) -> None:
    stays = chain(manager("stays", {"direct_response": {"status": 200}}), filter_chain_match={"source_ports": [1]})

    def default(code: int) -> Json:
        return chain(manager("web", {"direct_response": {"status": code}}))

    files.put(LISTENER, web(0, stays, default_filter_chain=default(200)))
    proxy = start(files.bootstrap(), workers=1)
    port = proxy.port("web")
    kept = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    assert _status_on(kept) == (200, None)
    other = chain(
        manager("other", {"direct_response": {"status": 200}}), filter_chain_match={"source_ports": [2]}, name="new"
    )
    files.put(LISTENER, web(0, stays, other, default_filter_chain=default(200)))
    eventually(lambda: stat(proxy, "listener_manager.listener_in_place_updated") == 1)
    assert _status_on(kept) == (200, None)
    files.put(LISTENER, web(0, stays, other, default_filter_chain=default(201)))
    eventually(lambda: status(port) == 201)
    assert _status_on(kept) == (200, "close")  # of the chain that has gone
    kept.close()
    assert proxy.port("web") == port


def _status_on(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    connection.request("GET", "/")
    answered = connection.getresponse()
    answered.read()
    return answered.status, answered.getheader("connection")


def test_a_port_moves_to_another_listener_without_an_error(
    files: Files, upstream: Upstream, start: Start, free_port: int
) -> None:
    fill(files, upstream)
    files.put(LISTENER, web(free_port, chain(rds_manager(files, "web", "r")), name="old"))
    proxy = start(files.bootstrap())
    with Load(free_port):
        files.put(LISTENER, web(free_port, chain(rds_manager(files, "web", "r")), name="new"))
        eventually(lambda: proxy.admin("/listeners")[1].startswith("new::"))
        eventually(lambda: stat(proxy, "listener_manager.listener_removed") == 1)
    files.put(LISTENER, web(free_port, chain(rds_manager(files, "web", "r")), name="new"), web(free_port, name="twice"))
    eventually(lambda: stat(proxy, "listener_manager.lds.update_rejected") == 1)
    assert get(free_port, "/digest")[0] == 200


def test_a_file_that_cannot_be_read_changes_nothing(files: Files, upstream: Upstream, start: Start) -> None:
    fill(files, upstream)
    proxy = start(files.bootstrap())
    port = proxy.port("web")
    for text in ("{", "[]", '{"resources": [{"@type": "x"}]}', '{"version_info": 1}', ""):
        new = files.directory / "bad"
        new.write_text(text)
        seen = stat(proxy, "cluster_manager.cds.update_failure")
        new.rename(files.path(CLUSTER))
        eventually(lambda seen=seen: stat(proxy, "cluster_manager.cds.update_failure") > seen)
        assert get(port, "/digest")[0] == 200
    assert "Cluster.json cannot be used, so what was there before stays" in proxy.said()


def test_a_control_plane_that_is_away_is_not_missed(upstream: Upstream, other: Upstream, start: Start) -> None:
    world = Ads("GRPC")
    try:
        fill(world, upstream)
        proxy = start(world.bootstrap())
        port = proxy.port("web")
        with Load(port):
            world.server.restart(0.5)
            world.put(ENDPOINTS, assignment("a", other.port, upstream.port))
            eventually(lambda: other.requests["GET /digest"] > 0)
            world.put(ENDPOINTS, assignment("a", upstream.port))
            eventually(lambda: f":{other.port}::" not in proxy.admin("/clusters")[1])
    finally:
        world.close()


def test_hosts_that_are_not_renewed_go(files: Files, upstream: Upstream, start: Start) -> None:
    fill(files, upstream)
    proxy = start(files.bootstrap())
    assert get(proxy.port("web"), "/digest")[0] == 200
    files.put(ENDPOINTS, assignment("a", upstream.port, policy={"endpoint_stale_after": "1s"}))
    eventually(lambda: status(proxy.port("web")) == 503)
    files.put(ENDPOINTS, assignment("a", upstream.port))
    eventually(lambda: get(proxy.port("web"), "/digest")[0] == 200)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture
def other() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture
def free_port() -> int:
    (port,) = free_ports(1)
    return port


def test_runtime_values_change(world: World, upstream: Upstream, start: Start) -> None:
    fill(world, upstream)
    world.put(RUNTIME, {"name": "layer", "layer": {"share": 0, "circuit_breakers.a.default.max_requests": 5}})
    some = {"match": {"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 100}, "runtime_key": "share"}}}
    world.put(ROUTES, routes("r", {**some, "direct_response": {"status": 201}}, to_cluster("a")))
    bootstrap = world.bootstrap()
    layer = {"name": "layer", "rtds_config": world.source(RUNTIME)}
    static = {"name": "base", "static_layer": {"share": 100, "other": 1}}
    bootstrap["layered_runtime"] = {"layers": [static, {"name": "rtds", "rtds_layer": layer}]}
    proxy = start(bootstrap)
    port = proxy.port("web")
    assert get(port, "/digest")[0] == 200
    assert json.loads(proxy.admin("/runtime")[1])["entries"]["share"] == {
        "layer_values": ["100", "0"],
        "final_value": "0",
    }
    world.put(RUNTIME, {"name": "layer", "layer": {"other": 2}})
    eventually(lambda: status(port) == 201)
    world.put(RUNTIME, {"name": "layer", "layer": {"share": 0, "circuit_breakers.a.default.max_requests": 0}})
    eventually(lambda: status(port) == 503)
