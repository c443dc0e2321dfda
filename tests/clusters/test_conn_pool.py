from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyproxy.config.cluster import ClusterConfig, Thresholds, UpstreamHttpOptions
from pyproxy.errors import ResponseFlag
from pyproxy.http.body import Body
from tests.support.transport import ManualTransport
from tests.support.upstreams import Asked, Stage, cluster_of

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
MakeStage = Callable[..., Stage]


@pytest.fixture
def make_stage() -> Iterator[MakeStage]:
    made: list[Stage] = []

    def make(*ports: int, **fields: object) -> Stage:
        made.append(Stage(cluster_of(*(ports or (1,)), **fields)))
        return made[-1]

    yield make
    for stage in reversed(made):  # each has put its clock over the one before
        stage.close()


def thresholds(**limits: int) -> tuple[Thresholds, Thresholds]:
    return Thresholds(**limits), Thresholds()


def status(asked: Asked) -> tuple[int, str]:
    """What the downstream is told."""
    if asked.error is not None:
        return asked.error.status, asked.error.flag.short if asked.error.flag else "-"
    assert asked.response is not None
    return asked.response.status, "-"


def test_a_connection_is_used_again(make_stage: MakeStage) -> None:
    stage = make_stage()
    for number in range(3):
        asked = stage.ask()
        if not number:
            stage.accept()
        (upstream,) = stage.transports
        assert upstream.read().startswith(b"GET / HTTP/1.1\r\nhost: a\r\n")
        stage.say(upstream, OK)
        assert (status(asked), asked.data) == ((200, "-"), b"ok")
        assert stage.in_use() == (0, 0, 1)
    assert stage.stat("upstream_cx_total") == 1


def test_the_newest_idle_connection_is_lent_first(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.ask()
    stage.ask()
    old, new = stage.accept(), stage.accept()
    stage.say(old, OK)
    stage.say(new, OK)
    old.read()
    new.read()
    stage.ask()
    assert (bool(old.read()), bool(new.read())) == (False, True)


def test_a_try_waits_for_a_connection_that_may_be_opened(make_stage: MakeStage) -> None:
    stage = make_stage(thresholds=thresholds(max_connections=1))
    first, second = stage.ask(), stage.ask()
    upstream = stage.accept()
    assert stage.loop.dials == []
    assert stage.in_use() == (2, 1, 1)
    stage.say(upstream, OK)
    assert (first.ended, second.ended) == (True, False)
    stage.say(upstream, OK)
    assert second.ended


@pytest.mark.parametrize(("ratio", "dials"), [(1.0, [1, 2, 3]), (1.5, [2, 3, 5]), (2.0, [2, 4, 6]), (3.0, [3, 6, 9])])
def test_connections_are_opened_before_they_are_needed(make_stage: MakeStage, ratio: float, dials: list[int]) -> None:
    stage = make_stage(preconnect_ratio=ratio)
    seen = []
    for _ in dials:
        stage.ask()
        seen.append(len(stage.loop.dials))
    assert seen == dials


def test_a_request_that_finds_a_connection_has_another_one_opened(make_stage: MakeStage) -> None:
    stage = make_stage(preconnect_ratio=2.0)
    stage.ask()
    first, _ = stage.accept(), stage.accept()
    stage.say(first, OK)
    stage.ask()
    assert len(stage.loop.dials) == 0
    stage.ask()
    assert len(stage.loop.dials) == 2


def test_breakers_hold_for_connections_that_are_not_needed_yet(make_stage: MakeStage) -> None:
    stage = make_stage(preconnect_ratio=3.0, thresholds=thresholds(max_connections=2))
    stage.ask()
    assert len(stage.loop.dials) == 2
    assert stage.stat("upstream_cx_overflow") == 1


def test_each_host_may_have_one_connection_however_low_the_limit(make_stage: MakeStage) -> None:
    stage = make_stage(1, 2, thresholds=thresholds(max_connections=1))
    for _ in range(4):
        stage.ask()
    assert sorted(dial.port for dial in stage.loop.dials) == [1, 2]


def test_more_tries_than_may_wait_or_be_are_refused(make_stage: MakeStage) -> None:
    stage = make_stage(thresholds=thresholds(max_pending_requests=1))
    stage.ask()
    assert status(stage.ask()) == (503, "UO")
    assert stage.in_use() == (1, 1, 1)
    stage = make_stage(thresholds=thresholds(max_requests=1))
    stage.ask()
    assert status(stage.ask()) == (503, "UO")
    assert stage.in_use() == (1, 1, 1)


def test_all_that_wait_share_a_failure_to_connect(make_stage: MakeStage) -> None:
    stage = make_stage()
    asked = [stage.ask(), stage.ask()]
    stage.refuse()
    assert [status(one) for one in asked] == [(503, "UF")] * 2
    assert stage.stat("upstream_cx_connect_fail") == 1
    stage.accept()
    assert stage.in_use() == (0, 0, 1)


def test_whoever_asks_when_a_connection_has_just_failed_gets_another(make_stage: MakeStage) -> None:
    """Before the next turn of the loop, as when the answer to a pipelined request begins the next one."""
    stage = make_stage()
    again: list[Asked] = []
    first = stage.ask()
    request = first.request
    stage.do(first.leave)

    class Insistent(Asked):
        def on_raise(self, error: BaseException) -> None:
            super().on_raise(error)
            again.append(Asked(request))
            again[0].run(stage.chain(request))

    insistent = Insistent(request)
    stage.do(lambda: insistent.run(stage.chain(request)))
    stage.refuse()
    assert insistent.outcomes == 1
    upstream = stage.accept()
    stage.say(upstream, OK)
    assert again[0].ended


def test_an_upstream_that_does_not_answer_is_a_timeout(make_stage: MakeStage) -> None:
    stage = make_stage(connect_timeout=2.0)
    asked = stage.ask()
    stage.wait(1.9)
    assert not asked.outcomes
    stage.wait(0.2)
    assert status(asked) == (503, "UF")
    assert asked.error is not None
    assert asked.error.body.endswith(b"reset reason: connection timeout")
    assert stage.in_use() == (0, 0, 0)
    assert stage.loop.dials == []


@pytest.mark.parametrize("how", [{"leave": True}, {"banner": b"220 smtp.example.com\r\n"}], ids=["leaves", "talks"])
def test_an_upstream_that_is_gone_before_it_is_used(make_stage: MakeStage, how: dict[str, object]) -> None:
    stage = make_stage()
    asked = stage.ask()
    stage.accept(**how)  # type: ignore[arg-type]
    assert asked.outcomes == 1
    assert asked.error is not None
    assert asked.error.status in (502, 503)
    assert stage.in_use() == (0, 0, 0)


def test_a_connection_that_closed_while_idle_is_not_lent(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.ask()
    upstream = stage.accept()
    stage.say(upstream, OK)
    stage.close_in_order(upstream)
    assert stage.in_use() == (0, 0, 0)
    stage.ask()
    assert len(stage.loop.dials) == 1


def test_an_upstream_that_talks_unasked_is_not_trusted_again(make_stage: MakeStage) -> None:
    stage = make_stage()
    first = stage.ask()
    upstream = stage.accept()
    stage.say(upstream, OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert (first.data, stage.in_use()) == (b"ok", (0, 0, 0))
    second = stage.ask()
    upstream = stage.accept()
    stage.say(upstream, OK)
    stage.say(upstream, b"HTTP/1.1 200 OK\r\n")
    assert (second.data, stage.in_use()) == (b"ok", (0, 0, 0))


def test_a_second_answer_does_not_reach_whoever_waits_for_the_connection(make_stage: MakeStage) -> None:
    stage = make_stage(thresholds=thresholds(max_connections=1))
    first, second = stage.ask(), stage.ask()
    stage.say(stage.accept(), OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert first.data == b"ok"
    assert second.data == b""
    stage.say(stage.accept(), OK)
    assert second.data == b"ok"
    assert stage.in_use() == (0, 0, 1)


def test_a_worn_out_connection_is_replaced(make_stage: MakeStage) -> None:
    stage = make_stage(
        thresholds=thresholds(max_connections=1), http=UpstreamHttpOptions(max_requests_per_connection=2)
    )
    asked = [stage.ask() for _ in range(3)]
    upstream = stage.accept()
    stage.say(upstream, OK)
    stage.say(upstream, OK)
    assert upstream.lost
    assert [one.ended for one in asked] == [True, True, False]
    stage.say(stage.accept(), OK)
    assert asked[2].ended


def test_an_idle_connection_is_closed_in_time_and_a_busy_one_is_not(make_stage: MakeStage) -> None:
    stage = make_stage(http=UpstreamHttpOptions(idle_timeout=10.0))
    stage.ask()
    upstream = stage.accept()
    stage.wait(9)
    stage.say(upstream, OK)
    stage.wait(9)
    assert not upstream.lost
    stage.ask()
    for _ in range(4):
        stage.wait(3)
    assert not upstream.lost
    stage.say(upstream, OK)
    stage.wait(5)
    stage.wait(4)
    assert not upstream.lost
    stage.wait(7)
    assert upstream.lost


def test_a_host_that_leaves_finishes_what_it_does(make_stage: MakeStage) -> None:
    stage = make_stage()
    first, second = stage.ask(), stage.ask()
    busy, idle = stage.accept(), stage.accept()
    stage.say(idle, OK)
    (host,) = stage.cluster.host_set.hosts
    stage.do(host.retire)
    assert (busy.lost, idle.lost) == (False, True)
    stage.say(busy, OK)
    assert busy.lost
    assert [first.ended, second.ended] == [True, True]
    assert stage.in_use() == (0, 0, 0)


def test_closing_ends_everything_at_once(make_stage: MakeStage) -> None:
    stage = make_stage(thresholds=thresholds(max_connections=2))
    asked = [stage.ask() for _ in range(3)]
    stage.accept()
    (host,) = stage.cluster.host_set.hosts
    stage.do(host.close)
    assert [one.outcomes for one in asked] == [1, 1, 1]
    assert stage.in_use() == (0, 0, 0)
    assert stage.loop.dials == []


class PoolMachine(RuleBasedStateMachine):
    """Downstreams that come, send, wait, leave; upstreams that connect, refuse, answer, hang up, say nonsense."""

    @initialize(
        connections=st.integers(1, 4),
        pending=st.integers(1, 4),
        requests=st.integers(1, 6),
        hosts=st.integers(1, 2),
        worn=st.sampled_from([0, 0, 2]),
        ratio=st.sampled_from([1.0, 1.0, 1.5, 3.0]),
    )
    def begin(self, connections: int, pending: int, requests: int, hosts: int, worn: int, ratio: float) -> None:
        limits = Thresholds(connections, pending, requests)
        config: ClusterConfig = cluster_of(
            *range(1, hosts + 1),
            thresholds=(limits, Thresholds()),
            preconnect_ratio=ratio,
            http=UpstreamHttpOptions(idle_timeout=20.0, max_requests_per_connection=worn),
        )
        self.stage = Stage(config)
        self.sending: dict[Asked, Body] = {}

    @rule()
    def ask(self) -> None:
        self.stage.ask()

    @rule(whole=st.booleans())
    def upload(self, whole: bool) -> None:
        body = Body.complete(b"abc") if whole else Body()
        asked = self.stage.ask("POST", body)
        if not whole:
            self.sending[asked] = body

    @precondition(lambda self: self.sending)
    @rule(at=st.integers(0, 9), over=st.booleans())
    def send(self, at: int, over: bool) -> None:
        asked = list(self.sending)[at % len(self.sending)]
        body = self.sending[asked]
        self.stage.do(lambda: body.feed(b"more"))
        if over:
            del self.sending[asked]
            self.stage.do(body.end)

    @precondition(lambda self: self.stage.loop.dials)
    @rule(at=st.integers(0, 9), how=st.sampled_from(["", "", "refuse", "leave", "banner"]))
    def connect(self, at: int, how: str) -> None:
        stage = self.stage
        at %= len(stage.loop.dials)
        if how == "refuse":
            stage.refuse(at)
        else:
            stage.accept(at, leave=how == "leave", banner=b"hello\r\n" if how == "banner" else b"")

    def upstream(self, at: int) -> ManualTransport:
        return self.stage.transports[at % len(self.stage.transports)]

    @precondition(lambda self: self.stage.transports)
    @rule(
        at=st.integers(0, 9),
        what=st.sampled_from(
            [
                OK,
                OK,
                OK,
                HEAD,
                b"body",
                OK + OK,
                OK + b"x",
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nsome",
                b"HTTP/1.1 2",
                b"nonsense\r\n",
            ]
        ),
    )
    def say(self, at: int, what: bytes) -> None:
        upstream = self.upstream(at)
        if upstream.reading and not upstream.closing:
            self.stage.say(upstream, what)

    @precondition(lambda self: self.stage.transports)
    @rule(at=st.integers(0, 9), reset=st.booleans())
    def hang_up(self, at: int, reset: bool) -> None:
        (self.stage.reset if reset else self.stage.close_in_order)(self.upstream(at))

    @precondition(lambda self: any(not asked.over for asked in self.stage.asked))
    @rule(at=st.integers(0, 9))
    def leave(self, at: int) -> None:
        waiting = [asked for asked in self.stage.asked if not asked.over]
        self.stage.do(waiting[at % len(waiting)].leave)

    @rule(seconds=st.sampled_from([1.0, 4.0, 16.0]))
    def wait(self, seconds: float) -> None:
        self.stage.wait(seconds)

    @invariant()
    def every_try_ends_once_and_holds_what_it_holds(self) -> None:
        stage = self.stage if hasattr(self, "stage") else None
        if stage is None:
            return
        limits, hosts = stage.limits, stage.cluster.host_set.hosts
        waiting = sum(not asked.over for asked in stage.asked)
        assert all(asked.outcomes <= 1 for asked in stage.asked)
        assert limits.requests == waiting == sum(host.rq_active for host in hosts)
        assert limits.requests <= limits.max_requests
        assert 0 <= limits.pending <= limits.max_pending
        assert limits.pending == sum(host.rq_pending_active for host in hosts)
        assert limits.connections == len(stage.transports) + len(stage.loop.dials)
        assert limits.connections <= max(limits.max_connections, limits.max_connections - 1 + len(hosts))
        assert sum(host.cx_active for host in hosts) == len(stage.transports)
        # Nobody waits without something under way that will end the wait.
        assert not limits.pending or limits.connections

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        stage = self.stage
        while stage.loop.dials:
            stage.refuse()
        for upstream in list(stage.transports):
            stage.reset(upstream)
        while stage.loop.dials:
            stage.refuse()
        for asked in stage.asked:
            if not asked.over:
                stage.do(asked.leave)
        assert stage.in_use() == (0, 0, 0)
        stage.close()


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)


def test_flags_tell_what_happened(make_stage: MakeStage) -> None:
    stage = make_stage()
    asked = stage.ask()
    stage.reset(stage.accept())
    assert asked.error is not None
    assert asked.error.flag is ResponseFlag.UPSTREAM_CONNECTION_TERMINATION
