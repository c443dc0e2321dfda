from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyproxy import clock
from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import EndpointConfig, Thresholds
from pyproxy.config.retry import ResetHeader, RetryPolicyConfig
from pyproxy.config.route import ForwardAction
from pyproxy.http.body import Body
from tests.support.upstreams import Asked, Stage, cluster_of

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"
LATER = b"HTTP/1.1 503 X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n"
MakeStage = Callable[..., Stage]
LONG = 0.3
"""More than any back-off of the policies below."""


@pytest.fixture
def make_stage() -> Iterator[MakeStage]:
    made: list[Stage] = []

    def make(*ports: int, **fields: object) -> Stage:
        config = cluster_of(*(ports or (1,)))
        made.append(Stage(replace(config, **fields)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for stage in made:
        stage.close()


def on(*words: str, **fields: Any) -> ForwardAction:
    """A route to the cluster with a retry policy."""
    timeout = fields.pop("timeout", 15.0)
    return ForwardAction(cluster="up", timeout=timeout, retry=RetryPolicyConfig(retry_on=frozenset(words), **fields))


def outcome(asked: Asked) -> tuple[int, str]:
    if asked.error is not None:
        return asked.error.status, asked.error.flag.short if asked.error.flag else "-"
    return (asked.response.status if asked.response else 0), "-"


class TestWithoutPolicy:
    def test_what_was_not_sent_goes_to_another_host(self, make_stage: MakeStage) -> None:
        stage = make_stage(1, 2)
        asked = stage.ask("POST", Body.complete(b"x"))
        first = stage.loop.dials[0].port
        stage.refuse()
        assert [dial.port for dial in stage.loop.dials] == [3 - first]
        upstream = stage.accept()
        assert b"\r\nx\r\n" in upstream.read()
        stage.say(upstream, OK)
        assert outcome(asked) == (200, "-")
        assert asked.request.info.attempts == 2

    def test_once(self, make_stage: MakeStage) -> None:
        stage = make_stage(1, 2, 3)
        asked = stage.ask()
        stage.refuse()
        stage.refuse()
        assert (outcome(asked), stage.loop.dials) == ((503, "UF"), [])

    def test_there_has_to_be_another_host(self, make_stage: MakeStage) -> None:
        stage = make_stage(1)
        asked = stage.ask()
        stage.refuse()
        assert (outcome(asked), stage.loop.dials) == ((503, "UF"), [])

    def test_another_priority_where_this_one_has_nobody_left(self, make_stage: MakeStage) -> None:
        hosts = [EndpointConfig(AddressConfig("127.0.0.1", port), priority=port - 1) for port in (1, 2)]
        stage = make_stage(endpoints=tuple(hosts))
        stage.ask()
        assert [dial.port for dial in stage.loop.dials] == [1]
        stage.refuse()
        assert [dial.port for dial in stage.loop.dials] == [2]

    def test_what_was_sent_is_not_sent_again(self, make_stage: MakeStage) -> None:
        stage = make_stage(1, 2)
        asked = stage.ask()
        stage.reset(stage.accept())
        assert outcome(asked) == (503, "UC")


class TestWaiting:
    def test_the_next_try_waits(self, make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pyproxy.clock.rng.random", lambda: 0.5)
        stage = make_stage()
        stage.ask(action=on("5xx", num_retries=5))
        upstream = stage.accept()
        for seconds in (0.0125, 0.025, 0.05, 0.1, 0.125):
            upstream.read()
            stage.say(upstream, BAD)
            stage.wait(seconds - 0.001)
            assert upstream.read() == b""
            stage.wait(0.001)
            assert upstream.read() != b""

    def test_as_long_as_the_response_says(self, make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pyproxy.clock.rng.random", lambda: 0.5)
        stage = make_stage()
        stage.ask(action=on("5xx", reset_headers=(ResetHeader(b"retry-after"),)))
        upstream = stage.accept()
        upstream.read()
        stage.say(upstream, LATER)
        stage.wait(8.7)
        assert upstream.read() == b""
        stage.wait(0.1)
        assert upstream.read() != b""
        assert stage.stat("upstream_rq_retry_backoff_ratelimited") == 1

    def test_not_longer_than_the_policy_allows(self, make_stage: MakeStage) -> None:
        stage = make_stage()
        stage.ask(action=on("5xx", reset_headers=(ResetHeader(b"retry-after"),), reset_max_interval=6.0))
        upstream = stage.accept()
        upstream.read()
        stage.say(upstream, LATER)
        stage.wait(LONG)
        assert upstream.read() != b""

    def test_the_route_timeout_ends_the_wait(self, make_stage: MakeStage) -> None:
        stage = make_stage()
        asked = stage.ask(action=on("5xx", base_interval=9.0, max_interval=9.0, timeout=0.001))
        stage.say(stage.accept(), BAD)
        stage.wait(0.002)
        assert outcome(asked) == (504, "UT")
        assert stage.limits.retries == 0

    def test_who_leaves_is_not_waited_for(self, make_stage: MakeStage) -> None:
        stage = make_stage()
        asked = stage.ask(action=on("5xx"))
        upstream = stage.accept()
        upstream.read()
        stage.say(upstream, BAD)
        assert stage.limits.retries == 1
        asked.leave()
        stage.wait(LONG)
        assert (upstream.read(), stage.limits.retries) == (b"", 0)


class TestBreaker:
    def test_a_retry_holds_a_slot_until_the_request_is_over(self, make_stage: MakeStage) -> None:
        stage = make_stage(thresholds=(Thresholds(max_retries=1, own_retry_limits=False), Thresholds()))
        stage.ask(action=on("5xx"))
        upstream = stage.accept()
        stage.say(upstream, BAD)
        stage.wait(LONG)
        other = stage.ask(action=on("5xx"))
        second = stage.accept()
        stage.say(second, BAD)
        assert (outcome(other), other.request.info.flags[0].short) == ((503, "-"), "UO")
        stage.say(upstream, OK)
        assert stage.limits.retries == 0
        assert stage.stat("upstream_rq_retry_overflow") == 1

    def test_own_limits_do_not_count_what_was_never_sent(self, make_stage: MakeStage) -> None:
        stage = make_stage(1, 2)
        asked = [stage.ask(action=on("connect-failure")) for _ in range(8)]
        while stage.loop.dials:
            stage.refuse()
        assert stage.limits.retries == 8
        stage.wait(LONG)
        while stage.loop.dials:
            stage.refuse()
        assert {outcome(one) for one in asked} == {(503, "UF")}
        assert stage.stat("upstream_rq_retry_overflow") == 0

    def test_a_budget(self) -> None:
        stage = Stage(cluster_of(1, thresholds=(Thresholds(retry_budget=(50.0, 1)), Thresholds())))
        stage.limits.requests = 9
        assert [stage.limits.try_acquire_retry() for _ in range(5)] == [True] * 4 + [False]
        stage.limits.requests = 0
        stage.limits.retries = 0
        assert [stage.limits.try_acquire_retry() for _ in range(2)] == [True, False]
        stage.close()


class Storm(RuleBasedStateMachine):
    """Requests with retries against upstreams that do what they like."""

    @initialize(retries=st.integers(0, 3), limit=st.integers(0, 3))
    def begin(self, retries: int, limit: int) -> None:
        clock.rng.seed(0)  # or the same steps would not lead to the same end
        thresholds = Thresholds(max_retries=limit, max_requests=6, max_connections=3, own_retry_limits=False)
        self.stage = Stage(cluster_of(1, 2, thresholds=(thresholds, Thresholds())))
        self.retries = retries
        self.limit = limit
        self.action = on("5xx", "reset", "connect-failure", num_retries=retries, per_try_timeout=2.0, timeout=9.0)

    @rule(body=st.booleans())
    def ask(self, body: bool) -> None:
        self.stage.ask("POST", Body.complete(b"x") if body else None, action=self.action)

    @precondition(lambda self: self.stage.loop.dials)
    @rule(which=st.integers(0), works=st.booleans())
    def answer_dial(self, which: int, works: bool) -> None:
        at = which % len(self.stage.loop.dials)
        if works:
            self.stage.accept(at)
        else:
            self.stage.refuse(at)

    @precondition(lambda self: self.stage.transports)
    @rule(which=st.integers(0), what=st.sampled_from((OK, BAD, OK[:9], b"nonsense\r\n\r\n", None)))
    def speak(self, which: int, what: bytes | None) -> None:
        transport = self.stage.transports[which % len(self.stage.transports)]
        if what is None:
            self.stage.reset(transport)
        else:
            self.stage.say(transport, what)

    @rule(seconds=st.sampled_from((0.01, LONG, 2.0)))
    def wait(self, seconds: float) -> None:
        self.stage.wait(seconds)

    @precondition(lambda self: any(not one.over for one in self.stage.asked))
    @rule(which=st.integers(0))
    def leave(self, which: int) -> None:
        waiting = [one for one in self.stage.asked if not one.over]
        self.stage.do(waiting[which % len(waiting)].leave)

    @invariant()
    def limits_hold(self) -> None:
        if not hasattr(self, "stage"):
            return
        assert 0 <= self.stage.limits.retries <= self.limit
        for asked in self.stage.asked:
            assert asked.request.info.attempts <= 1 + self.retries
            assert asked.outcomes <= 1

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        stage = self.stage
        for _ in range(20):
            while stage.loop.dials:
                stage.refuse()
            stage.wait(2.0)
        assert all(one.over for one in stage.asked)
        assert stage.limits.retries == 0
        assert stage.in_use()[:2] == (0, 0)
        stage.close()


TestStorm = Storm.TestCase
TestStorm.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
