"""Clusters that the manager itself sends to, as a control plane told of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pyproxy.config.resources import ResourceType
from pyproxy.server.discovery.collectors import cluster_in_force, filled
from tests.server.discovery.world import COMPILER, ManagerWorld, cluster, hosts
from tests.support.certificates import Authority
from tests.support.snapshot_server import message_of

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."


@pytest.fixture
def world() -> Iterator[ManagerWorld]:
    made = ManagerWorld()
    yield made
    made.close()


def test_its_hosts_are_those_of_now(world: ManagerWorld) -> None:
    assert cluster_in_force(world.store, "traces") is None
    world.cds(cluster("traces", eds="collectors"))
    assert cluster_in_force(world.store, "traces") is None  # it waits for its hosts
    for port in (4317, 4318):
        world.eds(hosts("collectors", port))
        found = cluster_in_force(world.store, "traces")
        assert found is not None
        assert [one.address.port for one in found.endpoints] == [port]


def test_also_those_of_a_cluster_that_is_not_told_of(world: ManagerWorld) -> None:
    world.cds(cluster("other", eds="collectors"))
    world.eds(hosts("collectors", 4317))
    static = replace(COMPILER.cluster(cluster("static", eds="collectors").body), name="static")
    assert [one.address.port for one in filled(world.store, static).endpoints] == [4317]
    plain = COMPILER.cluster(cluster("plain").body)
    assert filled(world.store, plain) is plain


def test_its_certificates_are_those_of_now(world: ManagerWorld, tmp_path: Path) -> None:
    trust = {"validation_context_sds_secret_config": {"name": "ca", "sds_config": {"ads": {}}}}
    context = {"@type": f"{TLS}UpstreamTlsContext", "common_tls_context": trust}
    world.cds(cluster("traces", transport_socket={"name": "tls", "typed_config": context}))
    pem = Authority(tmp_path).ca.read_text()
    secret = {"@type": f"{TLS}Secret", "name": "ca", "validation_context": {"trusted_ca": {"inline_string": pem}}}
    world.store.put(ResourceType.SECRET, "ca", "v", message_of(secret).SerializeToString())
    world.loop.pass_time(16)
    found = cluster_in_force(world.store, "traces")
    assert found is not None
    assert found.tls is not None
    assert found.tls.common.validation.trusted_ca == pem
    assert found.tls.source is None  # it is not read from files again
