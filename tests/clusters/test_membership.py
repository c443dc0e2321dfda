from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.host import Host
from pyproxy.clusters.membership import Member, diff, members_of
from pyproxy.config.cluster import EndpointConfig
from tests.clusters.hosts import endpoint

ENDPOINTS = st.lists(st.builds(endpoint, st.integers(0, 8), st.integers(1, 3), healthy=st.booleans()), max_size=10)


def by_key(hosts: tuple[Host, ...]) -> dict[str, Host]:
    return {host.key: host for host in hosts}


@given(before=ENDPOINTS, after=ENDPOINTS)
def test_hosts_that_stay_keep_their_identity(before: list[EndpointConfig], after: list[EndpointConfig]) -> None:
    first = diff({}, members_of(before))
    assert list(map(str, (e.address for e in before))) == [host.address for host in first.hosts]
    assert first.added == first.hosts
    known = by_key(first.hosts)
    second = diff(known, members_of(after))
    assert [host.address for host in second.hosts] == [str(e.address) for e in after]
    assert [(h.weight, h.healthy) for h in second.hosts] == [(e.weight, e.healthy) for e in after]
    assert set(second.removed) == set(first.hosts) - set(second.hosts)
    assert set(second.added) == set(second.hosts) - set(first.hosts)
    kept = set(first.hosts) & set(second.hosts)
    assert {host.key for host in kept} == known.keys() & {member.key for member in members_of(after)}


@given(endpoints=ENDPOINTS)
def test_the_same_again_changes_nothing(endpoints: list[EndpointConfig]) -> None:
    first = diff({}, members_of(endpoints))
    again = diff(by_key(first.hosts), members_of(endpoints))
    assert again.hosts == first.hosts
    assert (again.added, again.removed, again.rebalance) == ((), (), False)


def test_a_new_weight_is_balanced_anew_and_keeps_the_host() -> None:
    (host,) = diff({}, members_of([endpoint(1)])).hosts
    change = diff({host.key: host}, members_of([endpoint(1, weight=5)]))
    assert change.hosts == (host,)
    assert host.weight == 5
    assert change.rebalance


def test_an_address_that_is_listed_twice_is_two_hosts() -> None:
    hosts = diff({}, members_of([endpoint(1), endpoint(1)])).hosts
    assert len(set(hosts)) == 2
    assert [host.address for host in hosts] == ["10.0.0.1:80", "10.0.0.1:80"]


def test_a_member_may_move() -> None:
    (host,) = diff({}, [Member("name", endpoint(1))]).hosts
    at = endpoint(2).address
    change = diff({"name": host}, [Member("name", replace(endpoint(1), address=at))])
    assert change.hosts == (host,)
    assert host.address == "10.0.0.2:80"
    assert host.address_config is at
