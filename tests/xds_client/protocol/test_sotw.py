from __future__ import annotations

import pytest

from pyproxy.config.config_source import RateLimitConfig
from pyproxy.config.descriptors import message_class
from pyproxy.xds_client.protocol.mux import MalformedResponse
from tests.support.control_plane import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, message, sotw
from tests.xds_client.talk import Sink, Talk


def cluster(name: str, **fields: object) -> object:
    return message(CLUSTER, name=name, **fields)


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_a_wildcard_names_nothing_and_an_answer_has_version_and_nonce(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    assert talk.sent() == []  # there is no stream
    talk.mux.connected()
    first = talk.one()
    assert (first.type_url, list(first.resource_names), first.version_info, first.response_nonce) == (
        CLUSTER,
        [],
        "",
        "",
    )
    talk.put(sotw(CLUSTER, "1", "n1", cluster("a"), cluster("b")))
    assert sink.last == (["a", "b"], [])
    answer = talk.one()
    assert (answer.version_info, answer.response_nonce, answer.HasField("error_detail")) == ("1", "n1", False)
    assert talk.sent() == []


def test_only_what_changed_reaches_the_sink(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    talk.mux.connected()
    talk.put(sotw(CLUSTER, "1", "n1", cluster("a"), cluster("b"), cluster("c")))
    talk.put(sotw(CLUSTER, "2", "n2", cluster("b", alt_stat_name="x"), cluster("a")))
    assert sink.last == (["b"], ["c"])
    count = len(sink.updates)
    talk.put(sotw(CLUSTER, "3", "n3", cluster("b", alt_stat_name="x"), cluster("a")))
    assert len(sink.updates) == count
    assert talk.sent()[-1].version_info == "3"


def test_an_empty_first_response_is_an_answer(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(LISTENER, sink, {"*"})
    talk.put(sotw(LISTENER, "1", "n1"))
    assert sink.last == ([], [])


def test_what_is_refused_leaves_the_version_and_the_last_good_one(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    talk.mux.connected()
    talk.put(sotw(CLUSTER, "1", "n1", cluster("a"), cluster("b")))
    talk.sent()
    sink.refuse = {"b": "connect_timeout: is negative"}
    talk.put(sotw(CLUSTER, "2", "n2", cluster("a", alt_stat_name="x"), cluster("b", alt_stat_name="x")))
    refusal = talk.one()
    assert (refusal.version_info, refusal.response_nonce) == ("1", "n2")
    assert refusal.error_detail.code == 13
    assert refusal.error_detail.message == "Error adding/updating cluster(s) b: connect_timeout: is negative"
    # Rolled back: the sink hears of it, because it may remember that it refused.
    sink.refuse = {}
    talk.put(sotw(CLUSTER, "3", "n3", cluster("a", alt_stat_name="x"), cluster("b")))
    assert sink.last == (["b"], [])
    assert not talk.one().HasField("error_detail")


def test_one_unreadable_resource_refuses_all(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    talk.mux.connected()
    talk.sent()
    for damage in ("type_url", "value"):
        response = sotw(CLUSTER, "2", "n", cluster("a"), cluster("b"))
        setattr(response.resources[1], damage, ENDPOINTS if damage == "type_url" else b"\xff\xff")
        talk.put(response)
        assert talk.one().error_detail.message
    assert sink.updates == []
    assert sink.missing == ["*"]


def test_duplicates_refuse_themselves_only(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    talk.mux.connected()
    talk.sent()
    talk.put(sotw(CLUSTER, "1", "n", cluster("a"), cluster("b"), cluster("b", alt_stat_name="x")))
    assert sink.last == (["a", "b"], [])
    assert talk.one().error_detail.message == "Error adding/updating cluster(s) b: duplicate cluster b found"


def test_names_are_told_together_and_after_the_answer_that_brought_them(talk: Talk) -> None:
    class Clusters(Sink):
        def on_update(self, update):  # type: ignore[no-untyped-def]
            endpoints.watch([one.name for one in update.added])
            return super().on_update(update)

    endpoints = talk.subscribe(ENDPOINTS, Sink(), ())
    talk.subscribe(CLUSTER, Clusters(), {"*"})
    talk.mux.connected()
    talk.sent()
    talk.put(sotw(CLUSTER, "1", "n1", cluster("b"), cluster("a")))
    answer, names = talk.sent()
    assert answer.type_url == CLUSTER
    assert list(names.resource_names) == ["a", "b"]


def test_what_is_not_in_a_response_for_endpoints_stays(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(ENDPOINTS, sink, {"a", "b"})
    talk.put(sotw(ENDPOINTS, "1", "n", message(ENDPOINTS, cluster_name="a"), message(ENDPOINTS, cluster_name="b")))
    talk.put(
        sotw(
            ENDPOINTS, "2", "n", message(ENDPOINTS, cluster_name="a", policy={"overprovisioning_factor": {"value": 1}})
        )
    )
    assert sink.last == (["a"], [])


def test_what_nobody_asked_for_is_left_alone(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(ENDPOINTS, sink, {"a"})
    talk.mux.connected()
    talk.sent()
    talk.put(sotw(ENDPOINTS, "1", "n1", message(ENDPOINTS, cluster_name="q")))
    assert sink.updates == []
    assert talk.one().response_nonce == "n1"
    talk.put(sotw(SECRET, "1", "n1", message(SECRET, name="s")))
    assert talk.sent() == []


def test_a_new_stream_is_told_everything_in_order_with_the_last_version(talk: Talk) -> None:
    talk.subscribe(ROUTES, Sink(), {"r"})
    talk.subscribe(LISTENER, Sink(), {"*"})
    talk.subscribe(CLUSTER, Sink(), {"*"})
    talk.mux.connected()
    talk.put(sotw(CLUSTER, "1", "n1", cluster("a")))
    talk.mux.disconnected()
    talk.mux.connected()
    requests = talk.sent()
    assert [one.type_url for one in requests] == [CLUSTER, LISTENER, ROUTES]
    assert [(one.version_info, one.response_nonce) for one in requests] == [("1", ""), ("", ""), ("", "")]


@pytest.mark.parametrize("once", [False, True])
def test_the_node_is_told_with_each_request_or_once(once: bool) -> None:
    talk = Talk(node_once=once)
    talk.subscribe(LISTENER, Sink(), {"*"})
    talk.subscribe(CLUSTER, Sink(), {"*"})
    for _ in range(2):
        talk.mux.connected()
        assert [one.HasField("node") for one in talk.sent()] == [True, not once]


def test_waiting_ends(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(ENDPOINTS, sink, {"a", "b"}, timeout=15.0)
    talk.put(sotw(ENDPOINTS, "1", "n", message(ENDPOINTS, cluster_name="a")))
    assert talk.mux.wake_at() == 115.0
    talk.now = 115.0
    talk.mux.expire()
    assert sink.missing == ["b"]
    assert talk.mux.wake_at() == float("inf")


def test_a_time_to_live_runs_out_unless_there_are_heartbeats(talk: Talk) -> None:
    sink = Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    wrapper = message_class("envoy.service.discovery.v3.Resource")
    wrapped = wrapper(name="a", version="1", ttl={"seconds": 5})
    add = sotw(CLUSTER, "1", "n1", cluster("a")).resources[0]
    wrapped.resource.CopyFrom(add)
    talk.put(sotw(CLUSTER, "1", "n1", wrapped))
    assert sink.last == (["a"], [])
    talk.now += 4
    talk.put(sotw(CLUSTER, "1", "n2", wrapper(name="a", version="1", ttl={"seconds": 5})))
    talk.now += 4
    talk.mux.expire()
    assert sink.last == (["a"], [])
    talk.now += 1
    talk.mux.expire()
    assert sink.last == ([], ["a"])


def test_who_comes_late_is_told_what_is_held(talk: Talk) -> None:
    first, late = Sink(), Sink()
    talk.subscribe(ENDPOINTS, first, {"a"})
    talk.put(sotw(ENDPOINTS, "1", "n", message(ENDPOINTS, cluster_name="a")))
    talk.subscribe(ENDPOINTS, late, {"a"})
    assert talk.mux.has_late
    talk.mux.tell_late()
    assert late.last == (["a"], [])
    assert len(first.updates) == 1


def test_requests_are_limited() -> None:
    talk = Talk(limit=RateLimitConfig(2, 1.0))
    for type_url in (CLUSTER, LISTENER, ROUTES):
        talk.subscribe(type_url, Sink(), {"*"})
    talk.mux.connected()
    assert len(talk.sent()) == 2
    assert talk.stats.pending_requests.value == 1
    assert talk.stats.rate_limit_enforced.value == 1
    assert talk.mux.wake_at() == 101.0
    talk.now = 101.0
    assert len(talk.sent()) == 1
    assert talk.stats.pending_requests.value == 0


def test_a_loop_of_refusals_slows_down(talk: Talk) -> None:
    talk.subscribe(CLUSTER, Sink({"a": "bad", "b": "bad"}), {"*"})
    talk.mux.connected()
    talk.sent()
    began, answers = talk.now, 0
    while talk.now < began + 60:
        both = (cluster("a"), cluster("b"))
        talk.put(sotw(CLUSTER, "1", f"n{answers}", *(both if answers % 2 else reversed(both))))
        talk.now = max(talk.now, talk.mux.wake_at())
        answers += len(talk.sent())
    assert answers < 12


def test_bytes_that_are_no_response(talk: Talk) -> None:
    with pytest.raises(MalformedResponse):
        talk.mux.receive(b"\xff\xff\xff")


def test_names_that_are_no_longer_watched_are_forgotten(talk: Talk) -> None:
    sink = Sink()
    watch = talk.subscribe(ENDPOINTS, sink, {"a", "b"})
    talk.mux.connected()
    talk.put(sotw(ENDPOINTS, "1", "n1", message(ENDPOINTS, cluster_name="a")))
    talk.sent()
    watch.watch({"b"})
    assert list(talk.one().resource_names) == ["b"]
    watch.watch({"a"})
    talk.put(sotw(ENDPOINTS, "1", "n2", message(ENDPOINTS, cluster_name="a")))
    assert len(sink.updates) == 2
    watch.close()
    talk.put(sotw(ENDPOINTS, "2", "n3", message(ENDPOINTS, cluster_name="a")))
    assert len(sink.updates) == 2


def test_statistics(talk: Talk) -> None:
    sink = Sink()
    stats = talk.stats_of(sink)
    talk.subscribe(CLUSTER, sink, {"*"})
    response = sotw(CLUSTER, "e3", "n1", cluster("a"), control_plane={"identifier": "pilot"})
    talk.put(response)
    sink.refuse = {"a": "bad"}
    talk.put(sotw(CLUSTER, "e4", "n1", cluster("a", alt_stat_name="x")))
    talk.mux.disconnected()
    assert (stats.update_attempt.value, stats.update_success.value, stats.update_rejected.value) == (4, 1, 1)
    assert stats.update_failure.value == 1
    assert stats.version_text.value == "e3"
    assert stats.version.value & 0xFFFFFFFFFFFFFFFF == 12567011878008098785  # as Envoy shows it
    assert talk.stats.identifier.value == "pilot"
