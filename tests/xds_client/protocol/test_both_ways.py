"""Whatever happens on the way, in the end we have what the control plane has, except for what was refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyproxy.config.config_source import ApiType
from tests.support.control_plane import CLUSTER, ENDPOINTS, delta, message, sotw
from tests.xds_client.talk import Sink, Talk

NAMES = st.sampled_from(["a", "b", "c", "d"])
BAD = "bad"


class Refusing(Sink):
    """Refuses what says that it is bad."""

    def on_update(self, update: Any) -> Any:
        self.refuse = {one.name: "is bad" for one in update.added if BAD.encode() in one.body}
        return super().on_update(update)


def body(type_url: str, name: str, content: str) -> Any:
    if type_url == CLUSTER:
        return message(CLUSTER, name=name, alt_stat_name=content)
    return message(ENDPOINTS, cluster_name=name, endpoints=[{"locality": {"region": content}}])


class Agreement(RuleBasedStateMachine):
    """A control plane that behaves, and a network that may lose the stream at any time."""

    type_url = CLUSTER
    api_type = ApiType.AGGREGATED_GRPC

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk(self.api_type)
        self.sink = Refusing()
        self.world: dict[str, tuple[str, str]] = {}
        self.good: dict[str, bytes] = {}
        """The last good body of what there is, as far as it was sent."""
        self.changes = 0
        self.nonce = 0
        self.connected = False
        self.asked: set[str] = set()
        self.theirs: dict[str, str] = {}
        """The versions that the control plane believes us to have, on this stream."""
        self.unanswered: list[str] = []
        self.stale = True

    @initialize(wild=st.booleans())
    def begin(self, wild: bool) -> None:
        self.wild = wild or self.type_url == CLUSTER
        self.watch = self.talk.subscribe(self.type_url, self.sink, {"*"} if self.wild else {"a"})

    @rule(name=NAMES, content=st.sampled_from(["x", "y", BAD]))
    def change(self, name: str, content: str) -> None:
        self.changes += 1
        self.world[name] = (str(self.changes), content)
        self.stale = True

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.changes += 1
        self.world.pop(name, None)
        self.stale = True

    @precondition(lambda self: not self.wild)
    @rule(names=st.sets(NAMES, min_size=1))
    def want(self, names: set[str]) -> None:
        self.watch.watch(names)
        for name in set(self.sink.applied) - names:
            del self.sink.applied[name]

    @rule()
    def push(self) -> None:
        self._hear()
        if self.connected:
            self._send()
            self._hear()

    @rule()
    def lose(self) -> None:
        if self.connected:
            self.connected = False
            self.talk.mux.disconnected()

    @invariant()
    def nothing_bad_is_applied(self) -> None:
        assert not any(BAD.encode() in one for one in self.sink.applied.values())

    def teardown(self) -> None:
        for _ in range(3):
            self.push()
        wanted = {name for name in self.world if self.wild or name in self.watch.names}
        for name in wanted:
            _, content = self.world[name]
            if content != BAD:
                assert self.sink.applied[name] == body(self.type_url, name, content).SerializeToString(
                    deterministic=True
                )
        if self.type_url == CLUSTER or self.api_type.delta:
            assert set(self.sink.applied) <= wanted
        assert self.unanswered == []
        assert self.talk.sent() == []

    def _hear(self) -> None:
        if not self.connected:
            self.connected = True
            self.asked, self.theirs, self.unanswered = set(), {}, []
            self.stale = True
            self.talk.mux.connected()
        self.talk.now = max(self.talk.now, min(self.talk.mux.wake_at(), self.talk.now + 60))
        for request in self.talk.sent():
            if request.response_nonce:
                # A request for other names carries the last nonce once more.
                assert request.response_nonce in (*self.unanswered, f"n{self.nonce}")
                if request.response_nonce in self.unanswered:
                    del self.unanswered[: self.unanswered.index(request.response_nonce) + 1]
            self._note(request)

    def _note(self, request: Any) -> None:
        self.asked = set(request.resource_names)

    def _send(self) -> None:
        self.nonce += 1
        there = [name for name in self.world if self.wild or name in self.asked]
        bodies = [body(self.type_url, name, self.world[name][1]) for name in there]
        self._put(sotw(self.type_url, str(self.changes), f"n{self.nonce}", *bodies))

    def _put(self, response: Any) -> None:
        self.unanswered.append(response.nonce)
        self.talk.put(response)


class DeltaAgreement(Agreement):
    api_type = ApiType.AGGREGATED_DELTA_GRPC

    def _note(self, request: Any) -> None:
        self.asked |= set(request.resource_names_subscribe)
        for name in request.resource_names_subscribe:
            self.theirs.pop(name, None)
        self.asked -= set(request.resource_names_unsubscribe)
        for name in request.resource_names_unsubscribe:
            self.theirs.pop(name, None)
        self.theirs.update(request.initial_resource_versions)

    def _send(self) -> None:
        there = {name for name in self.world if self.wild or name in self.asked}
        changed = [name for name in sorted(there) if self.theirs.get(name) != self.world[name][0]]
        removed = [name for name in self.theirs if name not in there]
        if not changed and not removed:
            return
        self.nonce += 1
        resources = [(name, self.world[name][0], body(self.type_url, name, self.world[name][1])) for name in changed]
        for name in removed:
            del self.theirs[name]
        self.theirs.update({name: self.world[name][0] for name in changed})
        self._put(delta(self.type_url, str(self.changes), f"n{self.nonce}", *resources, removed=tuple(removed)))


class EndpointAgreement(Agreement):
    type_url = ENDPOINTS


class DeltaEndpointAgreement(DeltaAgreement):
    type_url = ENDPOINTS


@pytest.mark.parametrize("machine", [Agreement, DeltaAgreement, EndpointAgreement, DeltaEndpointAgreement])
def test_agreement(machine: type[RuleBasedStateMachine]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
