from __future__ import annotations

import pytest

from pyproxy.config.config_source import ApiType
from tests.support.control_plane import CLUSTER, ENDPOINTS, LISTENER, VIRTUAL_HOST, delta, message
from tests.xds_client.talk import Sink, Talk


def cluster(name: str, version: str = "1", **fields: object) -> tuple[str, str, object]:
    return name, version, message(CLUSTER, name=name, **fields)


@pytest.fixture
def talk() -> Talk:
    return Talk(ApiType.AGGREGATED_DELTA_GRPC)


def test_a_wildcard_names_nothing_and_each_response_is_answered(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    talk.mux.connected()
    first = talk.one()
    assert not first.resource_names_subscribe
    talk.put(delta(CLUSTER, "1", "n1", cluster("a")))
    talk.put(delta(CLUSTER, "2", "n2", cluster("b"), removed=("a", "never")))
    assert sink.last == (["b"], ["a"])
    assert [one.response_nonce for one in talk.sent()] == ["n1", "n2"]
    assert sink.applied.keys() == {"b"}


def test_names_are_told_as_differences_and_never_with_an_answer(talk: Talk) -> None:
    watch = talk.subscribe(ENDPOINTS, Sink(), {"a", "b"})
    talk.mux.connected()
    assert list(talk.one().resource_names_subscribe) == ["a", "b"]
    talk.put(delta(ENDPOINTS, "1", "n1", ("a", "1", message(ENDPOINTS, cluster_name="a"))))
    watch.watch({"b", "c"})
    answer, change = talk.sent()
    assert (answer.response_nonce, list(answer.resource_names_subscribe)) == ("n1", [])
    assert (list(change.resource_names_subscribe), list(change.resource_names_unsubscribe)) == (["c"], ["a"])


def test_a_new_stream_is_told_what_we_have(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    talk.subscribe(ENDPOINTS, Sink(), {"a"})
    talk.mux.connected()
    sink.refuse = {"bad": "is bad"}
    talk.put(delta(CLUSTER, "1", "n1", cluster("a", "7"), cluster("bad"), cluster("gone")))
    talk.put(delta(CLUSTER, "2", "n2", removed=("gone",)))
    talk.mux.disconnected()
    talk.mux.connected()
    clusters, endpoints = talk.sent()
    assert dict(clusters.initial_resource_versions) == {"a": "7"}
    assert list(endpoints.resource_names_subscribe) == ["a"]
    # Sent again after all: it is known.
    talk.put(delta(CLUSTER, "3", "n3", cluster("a", "7")))
    assert [one.response_nonce for one in talk.sent()] == ["n3"]
    assert sink.last == ([], ["gone"])


def test_a_refusal_names_what_and_why(talk: Talk) -> None:
    sink = Sink({"l": "filter_chains[0]: is empty", "m": "address: is taken"})
    talk.subscribe(LISTENER, sink, {"*"})
    talk.mux.connected()
    talk.sent()
    names = ("l", "m", "k")
    talk.put(delta(LISTENER, "1", "n1", *((name, "1", message(LISTENER, name=name)) for name in names)))
    refusal = talk.one()
    expected = "Error adding/updating listener(s) l: filter_chains[0]: is empty\nm: address: is taken"
    assert (refusal.response_nonce, refusal.error_detail.message) == ("n1", expected)
    assert sink.applied.keys() == {"k"}


def test_what_cannot_be_read_as_a_whole_is_refused_as_a_whole(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    talk.mux.connected()
    talk.sent()
    twice = delta(CLUSTER, "1", "n", cluster("b"), cluster("b", "2"))
    both = delta(CLUSTER, "1", "n", cluster("b"), removed=("b",))
    other = delta(CLUSTER, "1", "n", ("b", "1", message(LISTENER, name="b")))
    said = []
    for response in (twice, both, other):
        talk.put(response)
        said.append(talk.one().error_detail.message)
    assert said[0] == "duplicate name b found among added/updated resources"
    assert said[1] == "duplicate name b found in the union of added+removed resources"
    assert "does not match" in said[2]
    assert sink.updates == []


def test_what_does_not_exist_is_told(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(ENDPOINTS, sink, {"a", "b"})
    talk.put(delta(ENDPOINTS, "1", "n", ("b", "", None), removed=("a",)))
    assert sink.missing == ["a", "b"]


def test_a_collection_and_a_name_beside_everything(talk: Talk) -> None:
    every, one = Sink(), Sink()
    collection = "xdstp://a/envoy.config.cluster.v3.Cluster/x/*"
    talk.subscribe(CLUSTER, every, {"*"})
    talk.subscribe(CLUSTER, one, {collection})
    talk.mux.connected()
    assert list(talk.one().resource_names_subscribe) == ["*", collection]
    talk.put(delta(CLUSTER, "1", "n1", cluster("a"), cluster(collection[:-1] + "b")))
    assert every.last == (["a"], [])
    assert one.last == ([collection[:-1] + "b"], [])


def test_virtual_hosts_of_a_table_are_asked_for_without_a_name(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(VIRTUAL_HOST, sink, {"table/*"})
    talk.mux.connected()
    assert list(talk.one().resource_names_subscribe) == []
    hosts = (("table/a", "1", message(VIRTUAL_HOST, name="a")), ("other/b", "1", message(VIRTUAL_HOST, name="b")))
    talk.put(delta(VIRTUAL_HOST, "1", "n1", *hosts))
    assert sink.last == (["table/a"], [])


def test_a_heartbeat_prolongs(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    response = delta(CLUSTER, "1", "n1", cluster("a"))
    response.resources[0].ttl.seconds = 5
    talk.put(response)
    talk.now += 4
    beat = delta(CLUSTER, "1", "n2", ("a", "1", None))
    beat.resources[0].ttl.seconds = 5
    talk.put(beat)
    assert talk.mux.wake_at() == talk.now + 5
    talk.now += 5
    talk.mux.expire()
    assert sink.last == ([], ["a"])


def test_context_parameters_have_no_order(talk: Talk) -> None:
    sink = Sink()
    begin = "xdstp://a/envoy.config.cluster.v3.Cluster/x?"
    talk.subscribe(CLUSTER, sink, {begin + "b=2&a=1"})
    talk.mux.connected()
    assert list(talk.one().resource_names_subscribe) == [begin + "a=1&b=2"]
    talk.put(delta(CLUSTER, "1", "n1", cluster(begin + "b=2&a=1")))
    assert sink.last == ([begin + "a=1&b=2"], [])
