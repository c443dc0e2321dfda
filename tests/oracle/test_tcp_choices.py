"""Which host a TCP session gets, by Envoy and by pyproxy: by metadata, by a hash, by clusters of clusters."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.oracle.tls_proxies import Json, Proxy, two_proxies
from tests.server.bootstraps import bootstrap, endpoint, listener, static_cluster
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer

pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("tcp-choices")]

TYPE = "type.googleapis.com/envoy.extensions."
HOSTS = 6


def metadata(**labels: str) -> Json:
    return {"filter_metadata": {"envoy.lb": labels}}


def tcp(**fields: object) -> Json:
    typed = {"@type": f"{TYPE}filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t", **fields}
    return {"name": "tcp", "typed_config": typed}


def state(key: str, text: str, factory: str) -> Json:
    value = {
        "object_key": key,
        "factory_key": factory,
        "format_string": {"text_format_source": {"inline_string": text}},
    }
    typed = {"@type": f"{TYPE}filters.network.set_filter_state.v3.Config", "on_new_connection": [value]}
    return {"name": "state", "typed_config": typed}


def keyed(text: str) -> list[Json]:
    """Hosts are chosen by a text that stands in the filter state."""
    chosen = tcp(cluster="ring", hash_policy=[{"filter_state": {"key": "who"}}])
    return [state("who", text, "envoy.hashable_string"), chosen]


def weighted(*labels: str) -> Json:
    return {
        "clusters": [
            {"name": "subsets", "weight": 1, **({"metadata_match": metadata(stage=label)} if label else {})}
            for label in labels
        ]
    }


# listener: the filters of its chain
CHAINS: dict[str, list[Json]] = {
    "whole": [tcp(cluster="subsets", metadata_match=metadata(stage="a"))],
    "weighted": [tcp(weighted_clusters=weighted("b"), metadata_match=metadata(stage="a"))],
    "weighted-inherits": [tcp(weighted_clusters=weighted(""), metadata_match=metadata(stage="a"))],
    "aggregate": [tcp(cluster="aggregate")],
    **{f"key-{text}": keyed(text) for text in ("one", "two", "three", "four", "five")},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    peers = [Peer(_naming(at)) for at in range(HOSTS)]

    def make(proxy: Proxy) -> Json:
        listeners = []
        for name, filters in CHAINS.items():
            made = listener(name, proxy.ports[name], {})
            made["filter_chains"] = [{"filters": filters}]
            listeners.append(made)
        plain = [endpoint(peer.port) for peer in peers]
        labelled = [{**one, "metadata": metadata(stage="ab"[at % 2])} for at, one in enumerate(plain)]
        subsets = {
            "fallback_policy": "NO_FALLBACK",
            "subset_selectors": [{"keys": ["stage"]}],
        }
        typed = {"@type": f"{TYPE}clusters.aggregate.v3.ClusterConfig", "clusters": ["none", "last"]}
        aggregate = {
            "name": "aggregate",
            "connect_timeout": "1s",
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": typed},
        }
        clusters = [
            static_cluster("subsets", *labelled, lb_subset_config=subsets),
            static_cluster("ring", *plain, lb_policy="RING_HASH"),
            static_cluster("none"),
            static_cluster("last", plain[-1]),
            aggregate,
        ]
        return json.loads(json.dumps(bootstrap(listeners, clusters)))  # type: ignore[no-any-return]

    yield from two_proxies(tmp_path_factory.mktemp("proxies"), tuple(CHAINS), make)
    for peer in peers:
        peer.close()


def _naming(at: int) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        sock.sendall(b"%d" % at)

    return serve


def hosts(proxy: Proxy, name: str, times: int = 12) -> Counter[bytes]:
    seen: Counter[bytes] = Counter()
    for _ in range(times):
        with socket.create_connection((LOOPBACK, proxy.ports[name]), timeout=20) as sock:
            seen[sock.recv(10)] += 1
    return seen


@pytest.mark.parametrize("name", list(CHAINS))
def test_the_same_hosts_are_chosen(scene: dict[str, Proxy], name: str) -> None:
    seen = {owner: set(hosts(proxy, name)) for owner, proxy in scene.items()}
    assert seen["pyproxy"] == seen["envoy"]
    assert b"" not in seen["envoy"]


def test_keys_are_spread(scene: dict[str, Proxy]) -> None:
    chosen = {host for name in CHAINS if name.startswith("key-") for host in hosts(scene["pyproxy"], name, 1)}
    assert len(chosen) > 1
