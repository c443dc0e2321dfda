"""The control plane's side of xDS against the proxy's side: both are without I/O, so they are put face to face."""

from __future__ import annotations

import pytest

from pyproxy.config.config_source import ApiType
from pyproxy.control_plane.resources import CLUSTER, ENDPOINTS, TYPES, Resources
from pyproxy.control_plane.stream import DeltaServed, ServedStream, SotwServed
from tests.support.control_plane import message
from tests.xds_client.talk import Sink, Talk


def world(**clusters: str) -> Resources:
    made: Resources = {type_url: {} for type_url in TYPES}
    for name, content in clusters.items():
        made[CLUSTER][name] = message(CLUSTER, name=name, alt_stat_name=content).SerializeToString()
        made[ENDPOINTS][name] = message(ENDPOINTS, cluster_name=name).SerializeToString()
    return made


class Pair:
    """Both ends; `exchange` lets them talk until both are silent."""

    def __init__(self, api_type: ApiType) -> None:
        self.talk = Talk(api_type)
        self.api_type = api_type
        self.served: ServedStream = self._new()
        self.responses = 0

    def reconnect(self) -> None:
        self.talk.mux.disconnected()
        self.served = self._new()

    def exchange(self, resources: Resources) -> None:
        for _ in range(20):
            requests = self.talk.sent()
            for request in requests:
                self.served.hear(request)
            responses = self.served.due(resources)
            self.responses += len(responses)
            for response in responses:
                self.talk.put(response)
            if not requests and not responses:
                return
        raise AssertionError("they do not come to an end")

    def _new(self) -> ServedStream:
        self.talk.mux.connected()
        return DeltaServed() if self.api_type.delta else SotwServed()


@pytest.fixture(params=[ApiType.GRPC, ApiType.DELTA_GRPC])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


def test_what_changes_arrives_and_nothing_else(pair: Pair) -> None:
    sink = Sink()
    pair.talk.subscribe(CLUSTER, sink, {"*"})
    pair.exchange(world(a="1", b="1"))
    pair.exchange(world(a="1", b="2", c="1"))
    assert sink.last == (["b", "c"], [])
    pair.exchange(world(a="1", c="1"))
    assert sink.last == ([], ["b"])
    count = pair.responses
    pair.exchange(world(a="1", c="1"))
    assert pair.responses == count


def test_names(pair: Pair) -> None:
    sink = Sink()
    watch = pair.talk.subscribe(ENDPOINTS, sink, {"a"})
    resources = world(a="1", b="1")
    pair.exchange(resources)
    assert sink.applied.keys() == {"a"}
    watch.watch({"a", "b", "nowhere"})
    pair.exchange(resources)
    assert sink.applied.keys() == {"a", "b"}
    watch.watch({"b"})
    pair.exchange(resources)


def test_a_refusal_is_known_and_a_better_version_accepted(pair: Pair) -> None:
    sink = Sink({"a": "is bad"})
    pair.talk.subscribe(CLUSTER, sink, {"*"})
    pair.exchange(world(a="1"))
    assert "is bad" in pair.served.types[CLUSTER].refusal
    sink.refuse = {}
    pair.exchange(world(a="2"))
    assert pair.served.types[CLUSTER].refusal == ""
    assert sink.applied.keys() == {"a"}


def test_a_new_stream_brings_what_was_missed(pair: Pair) -> None:
    sink = Sink()
    pair.talk.subscribe(CLUSTER, sink, {"*"})
    pair.exchange(world(a="1", b="1"))
    pair.reconnect()
    pair.exchange(world(a="1", c="1"))
    assert sink.last == (["c"], ["b"])


def test_delta_does_not_repeat_what_is_known() -> None:
    pair = Pair(ApiType.DELTA_GRPC)
    pair.talk.subscribe(CLUSTER, Sink(), {"*"})
    pair.exchange(world(a="1"))
    pair.reconnect()
    for request in pair.talk.sent():
        pair.served.hear(request)
    (response,) = pair.served.due(world(a="1"))
    assert not response.resources


def test_a_stale_answer_is_left_alone() -> None:
    pair = Pair(ApiType.GRPC)
    pair.talk.subscribe(CLUSTER, Sink(), {"*"})
    pair.exchange(world(a="1"))
    request = pair.talk.mux.types[CLUSTER].next_request(None, 0.0)
    from pyproxy.config.descriptors import message_class
    from pyproxy.control_plane.stream import SOTW_REQUEST

    stale = message_class(SOTW_REQUEST).FromString(request)
    stale.response_nonce = "long ago"
    pair.served.hear(stale)
    assert pair.served.due(world(a="1")) == []
