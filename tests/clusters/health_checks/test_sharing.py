"""Health checks of several workers: one asks, all know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.host import HealthFlag
from pyproxy.clusters.manager import ClusterManager
from pyproxy.clusters.membership import members_of
from pyproxy.clusters.peers import Note, Topic
from pyproxy.config.cluster import ClusterConfig
from pyproxy.config.health_check import HealthCheckConfig, HttpCheckConfig
from pyproxy.config.outlier import OutlierConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.tasks import DeadlineTable
from pyproxy.telemetry.events import EventOutbox
from pyproxy.telemetry.metrics import StatsStore
from tests.support.upstream import AwaitBody, AwaitClose, Close, ScriptedUpstream, reply
from tests.support.upstreams import cluster_of

CHECK = HealthCheckConfig(
    check=HttpCheckConfig(path="/"),
    timeout=0.5,
    interval=0.05,
    unhealthy_threshold=1,
    healthy_threshold=1,
    unhealthy_interval=0.05,
    unhealthy_edge_interval=0.05,
    healthy_edge_interval=0.05,
    no_traffic_interval=0.05,
    no_traffic_healthy_interval=0.05,
)


class Crew:
    """Workers that hear each other."""

    def __init__(self, count: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.workers: list[Member] = []
        for index in range(count):
            self.workers.append(Member(self, index))

    def deliver(self, note: Note) -> None:
        for worker in self.workers:
            if worker.index != note.sender:
                self.loop.call_soon(worker.manager.hear, note)

    def close(self) -> None:
        for worker in self.workers:
            worker.manager.close()


class Member:
    def __init__(self, crew: Crew, index: int) -> None:
        self.crew = crew
        self.index = index
        self.patience = 0.02 * index
        self.events = EventOutbox()
        loop = crew.loop
        self.manager = ClusterManager(
            loop, StatsStore(), DeadlineTable(loop), RuntimeValues(), peers=self, events=self.events
        )

    def tell(self, topic: Topic, cluster: str, host: str = "", values: list[Any] | None = None) -> None:
        self.crew.deliver(Note(self.index, topic, cluster, host, values or []))

    def begin(self, config: ClusterConfig) -> None:
        self.manager.apply((config,))
        assert self.manager.get(config.name) is not None

    @property
    def cluster(self) -> Cluster:
        found = self.manager.get("up")
        assert found is not None
        return found

    @property
    def asked(self) -> int:
        return self.cluster.stats.health_check.attempt.value

    @property
    def healthy(self) -> bool:
        return self.cluster.host_set.hosts[0].healthy


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    made = ScriptedUpstream()
    yield made
    made.stop()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never happened")


async def test_one_worker_asks_and_another_one_when_it_is_gone(upstream: ScriptedUpstream) -> None:
    upstream.begin((reply(), reply(), reply("503 X", b""), reply("503 X", b""), reply()))
    crew = Crew(3)
    config = cluster_of(upstream.port, health_checks=(CHECK,))
    for worker in crew.workers:
        worker.begin(config)
    first, second, third = crew.workers
    await until(lambda: all(worker.cluster.ready for worker in crew.workers))
    await until(lambda: first.asked >= 5)
    await until(lambda: all(worker.healthy for worker in crew.workers))
    assert max(second.asked, third.asked) <= 1  # at the beginning, where the first one is slow
    told = [event.fields["health"] for worker in crew.workers for event in worker.events.take()]
    assert told == ["unhealthy", "healthy"]
    assert second.cluster.stats.health_check.healthy.value == 1

    first.manager.close()
    asked = second.asked + third.asked
    await until(lambda: second.asked + third.asked > asked + 3)
    crew.close()


async def test_a_worker_that_comes_later_learns_what_is_known(upstream: ScriptedUpstream) -> None:
    upstream.begin(((AwaitBody(), Close()),))
    crew = Crew(2)
    config = cluster_of(upstream.port, health_checks=(CHECK,))
    first, second = crew.workers
    first.begin(config)
    await until(lambda: first.asked > 1)
    second.begin(config)
    await until(lambda: second.cluster.ready)
    assert not second.healthy
    assert second.asked == 0
    crew.close()


async def test_an_answer_that_takes_a_host_out_does_so_everywhere(upstream: ScriptedUpstream) -> None:
    upstream.begin((reply(),))
    crew = Crew(2)
    slow = cluster_of(upstream.port, health_checks=(_slow(),))
    for worker in crew.workers:
        worker.begin(slow)
    await until(lambda: all(worker.cluster.ready and worker.healthy for worker in crew.workers))
    first, second = crew.workers
    second.cluster.host_set.hosts[0].checker.fail_now()
    await until(lambda: not first.healthy)
    assert not second.healthy
    assert first.cluster.stats.health_check.passive_failure.value == 0
    crew.close()


async def test_ejections_are_known_to_a_cluster_that_begins_to_live() -> None:
    crew = Crew(2)
    first, second = crew.workers
    config = cluster_of(1, 2, outlier=OutlierConfig(consecutive_5xx=1, max_ejection_percent=50))
    first.begin(config)
    bad, good = first.cluster.host_set.hosts
    second.manager.apply((config,))  # nobody has used it there
    bad.outlier.put_status(500)
    await until(lambda: not bad.healthy)
    await asyncio.sleep(0)
    assert [host.healthy for host in second.cluster.host_set.hosts] == [False, True]

    third = Member(crew, 2)
    crew.workers.append(third)
    third.manager.apply((config,))
    third.tell(Topic.WANTED, "")
    for _ in range(3):
        await asyncio.sleep(0)
    assert [host.healthy for host in third.cluster.host_set.hosts] == [False, True]
    assert good.healthy
    crew.close()


def _slow() -> HealthCheckConfig:
    fields = {name: getattr(CHECK, name) for name in CHECK.__slots__}
    return HealthCheckConfig(**{**fields, "interval": 60.0, "no_traffic_interval": 60.0})


async def test_new_hosts_do_not_count_until_they_were_asked(upstream: ScriptedUpstream) -> None:
    silent = ScriptedUpstream()
    silent.begin(((AwaitBody(), AwaitClose()),))
    upstream.begin((reply(),))
    crew = Crew(1)
    (worker,) = crew.workers
    worker.begin(cluster_of(upstream.port, health_checks=(CHECK,), ignore_new_hosts=True))
    await until(lambda: worker.cluster.ready)
    assert worker.healthy

    ports = (upstream.port, silent.port)
    worker.cluster.on_members(members_of(cluster_of(*ports).endpoints))
    new = worker.cluster.host_set.hosts[1]
    assert new.flags == HealthFlag.FAILED_ACTIVE_HC | HealthFlag.PENDING_ACTIVE_HC
    assert worker.cluster.stats.membership_excluded.value == 1
    await until(lambda: not new.excluded)
    await until(lambda: worker.cluster.stats.membership_excluded.value == 0)
    assert new.flags == HealthFlag.FAILED_ACTIVE_HC | HealthFlag.ACTIVE_HC_TIMEOUT
    crew.close()
    silent.stop()
