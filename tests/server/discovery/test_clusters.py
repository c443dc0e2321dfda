"""CDS and EDS in the manager: what is in force, what waits, what is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyproxy.config.resources import ResourceType
from pyproxy.xds_client.subscription import Resource
from tests.server.discovery.world import ADS, ManagerWorld, cluster, hosts

CLUSTER, ENDPOINTS = ResourceType.CLUSTER, ResourceType.ENDPOINTS


@pytest.fixture
def world() -> Iterator[ManagerWorld]:
    made = ManagerWorld()
    yield made
    made.close()


def test_a_cluster_is_in_force_once_its_hosts_are_known(world: ManagerWorld) -> None:
    assert world.cds(cluster("a", eds="s"), cluster("plain")) == {}
    assert world.names(CLUSTER) == {"plain"}
    assert set(world.clusters.warming) == {"a"}
    assert world.source.watched[ENDPOINTS.url] == {"s"}
    assert world.eds(hosts("s", 80), hosts("unasked", 80)) == {}
    assert world.names(CLUSTER) == {"a", "plain"}
    assert world.names(ENDPOINTS) == {"s"}


def test_a_changed_cluster_waits_only_for_what_is_not_known(world: ManagerWorld) -> None:
    world.cds(cluster("a", eds="s"))
    world.eds(hosts("s", 80))
    new = cluster("a", eds="s", timeout="2s")
    world.cds(new)
    assert world.written()[CLUSTER, "a"] == new.body
    moved = cluster("a", eds="t")
    world.cds(moved)
    assert world.written()[CLUSTER, "a"] == new.body
    assert world.source.watched[ENDPOINTS.url] == {"s", "t"}
    world.eds(hosts("t", 80))
    assert world.written()[CLUSTER, "a"] == moved.body
    assert world.source.watched[ENDPOINTS.url] == {"t"}
    assert world.names(ENDPOINTS) == {"t"}
    assert (world.clusters.added, world.clusters.modified) == (1, 2)


def test_nothing_is_waited_for_longer_than_its_time(world: ManagerWorld) -> None:
    world.cds(cluster("a", eds="s"))
    world.loop.pass_time(14)
    assert world.names(CLUSTER) == set()
    world.loop.pass_time(2)
    assert world.names(CLUSTER) == {"a"}
    counts = world.endpoints.counts_of(ADS, "s")
    assert counts is not None
    assert counts.fetch_timeout == 1


def test_what_the_source_does_not_have_is_not_waited_for(world: ManagerWorld) -> None:
    world.cds(cluster("a", eds="s"))
    world.source.sinks[ENDPOINTS.url].on_missing("s")
    world.loop.turn()
    assert world.names(CLUSTER) == {"a"}


def test_bad_resources_are_refused_one_by_one_and_the_last_good_stays(world: ManagerWorld) -> None:
    good = cluster("a")
    world.cds(good)
    reasons = world.cds(cluster("a", timeout="0s"), cluster("b"), Resource("c", "v", b"\xff\xff"))
    assert set(reasons) == {"a", "c"}
    assert reasons["a"] == "connect_timeout: is 0s; expected a value greater than 0s"
    assert world.written()[CLUSTER, "a"] == good.body
    assert world.names(CLUSTER) == {"a", "b"}
    assert set(world.store.refused[CLUSTER]) == {"a", "c"}
    assert world.cds(good) == {}
    assert set(world.store.refused[CLUSTER]) == {"c"}
    assert world.clusters.counts.rejected == 1


def test_a_name_that_is_there_twice(world: ManagerWorld) -> None:
    assert world.cds(cluster("a"), cluster("a", timeout="2s")) == {"a": "duplicate cluster 'a'"}


def test_bad_hosts_change_nothing(world: ManagerWorld) -> None:
    world.cds(cluster("a", eds="s"))
    world.eds(hosts("s", 80))
    before = world.written()
    named = hosts("s")
    bad = Resource("s", "2", named.body + b"\x12\x02\x12\x00")
    assert "s" in world.eds(bad)
    assert world.written() == before


def test_hosts_that_are_not_renewed_are_gone(world: ManagerWorld) -> None:
    world.cds(cluster("a", eds="s"))
    fresh = hosts("s", 80, policy={"endpoint_stale_after": "5s"})
    world.eds(fresh)
    world.loop.pass_time(4)
    world.eds(fresh)
    world.loop.pass_time(4)
    assert world.written()[ENDPOINTS, "s"] == fresh.body


NAMES = st.sampled_from(["a", "b", "c"])
SERVICES = st.sampled_from(["", "s", "t"])


class ClustersMachine(RuleBasedStateMachine):
    """Whatever comes in whatever order: in force is the last good version whose hosts have been known."""

    def __init__(self) -> None:
        super().__init__()
        self.world = ManagerWorld()
        self.newest: dict[str, tuple[Resource, str]] = {}
        self.known: set[str] = set()

    def teardown(self) -> None:
        self.world.close()

    @rule(name=NAMES, service=SERVICES, seconds=st.integers(1, 3))
    def put(self, name: str, service: str, seconds: int) -> None:
        resource = cluster(name, eds=service, timeout=f"{seconds}s")
        assert self.world.cds(resource) == {}
        self.newest[name] = (resource, service)

    @rule(name=NAMES)
    def put_bad(self, name: str) -> None:
        assert set(self.world.cds(cluster(name, timeout="0s"))) == {name}

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.world.cds(removed=(name,))
        self.newest.pop(name, None)

    @rule(service=st.sampled_from(["s", "t"]), port=st.integers(1, 3))
    def hosts_come(self, service: str, port: int) -> None:
        if ENDPOINTS.url in self.world.source.sinks:
            assert self.world.eds(hosts(service, port)) == {}

    @rule()
    def time_passes(self) -> None:
        self.world.loop.pass_time(20)

    @rule()
    def the_manager_dies(self) -> None:
        self.world.restart()
        in_force = self.world.written()
        # What was waiting is sent again by the source.
        self.newest = {name: one for name, one in self.newest.items() if in_force.get((CLUSTER, name)) == one[0].body}
        for kind, name in in_force:
            if kind is CLUSTER and name not in self.newest:
                self.world.cds(removed=(name,))

    @invariant()
    def what_is_in_force_or_waits_is_what_came_last(self) -> None:
        written = self.world.written()
        for name, (resource, service) in self.newest.items():
            warming = self.world.clusters.warming.get(name)
            if warming is None:
                assert written[CLUSTER, name] == resource.body
            else:
                assert service
                assert warming.resource.body == resource.body
        assert self.world.clusters.names == set(self.newest)

    @invariant()
    def only_what_is_needed_is_asked_for_and_kept(self) -> None:
        needed = {service for _, service in self.newest.values() if service}
        held = {eds.service_name for _, eds in self.world.clusters.followed()}
        watched = self.world.source.watched.get(ENDPOINTS.url, set())
        assert watched == needed | held
        assert self.world.names(ENDPOINTS) <= watched


ClustersMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestClustersMachine = ClustersMachine.TestCase
