"""One stream and all that goes over it: every type of an aggregated stream, or the one type of a separate one.

No I/O: the caller says what arrived, and asks what is to be sent. Times are those of the clock that it brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from pyproxy.config.config_source import ApiSourceConfig
from pyproxy.telemetry.xds_stats import ControlPlaneStats, SubscriptionStats
from pyproxy.xds_client.protocol.delta import DeltaState
from pyproxy.xds_client.protocol.messages import MalformedResponse as MalformedResponse
from pyproxy.xds_client.protocol.messages import read_delta, read_sotw
from pyproxy.xds_client.protocol.pace import RequestPace
from pyproxy.xds_client.protocol.sotw import SotwState
from pyproxy.xds_client.protocol.type_state import TypeState
from pyproxy.xds_client.protocol.types import rank
from pyproxy.xds_client.protocol.watch import NEVER, Watch
from pyproxy.xds_client.subscription import ResourceSink

_MANY_VERDICTS: Final = 16


class Mux:
    """`node` is the message that tells who we are; `clock` gives seconds and never goes back."""

    def __init__(
        self, config: ApiSourceConfig, node: Any, stats: ControlPlaneStats, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self.types: dict[str, TypeState] = {}
        self._delta = config.api_type.delta
        self._node = node
        self._node_once = config.set_node_on_first_message_only
        self._stats = stats
        self._pace = RequestPace(config.rate_limit)
        self._connected = False
        self._first = True

    def now(self) -> float:
        """The time by which everything here goes."""
        return self._clock()

    # What is wanted

    def subscribe(
        self, type_url: str, sink: ResourceSink, names: Iterable[str], stats: SubscriptionStats, fetch_timeout: float
    ) -> Watch:
        """Begin to watch names of a type. `fetch_timeout` in seconds, 0 for ever."""
        state = self._state(type_url)
        watch = Watch(sink, stats, fetch_timeout, lambda one, before: state.changed(one, before, self._clock()))
        stats.update_attempt.value += 1
        watch.watch(names)
        return watch

    @property
    def has_late(self) -> bool:
        """Whether `tell_late` has something to tell."""
        return any(state.has_late for state in self.types.values())

    def tell_late(self) -> None:
        """Give watches that came late what is held already. Not from within a call of a sink."""
        for state in list(self.types.values()):
            state.tell_late()

    # The stream

    def connected(self) -> None:
        """There is a stream: everything is asked for anew."""
        self._connected = self._first = True
        self._stats.connected_state.value = 1
        for state in self.types.values():
            state.connected()

    def disconnected(self) -> None:
        """There is no stream any more, or it could not be had. What was accepted stays."""
        self._connected = False
        self._stats.connected_state.value = 0
        for state in self.types.values():
            for watch in state.watches:
                watch.stats.update_failure.value += 1
                watch.stats.update_attempt.value += 1

    def receive(self, data: bytes) -> None:
        """A response. Raises MalformedResponse where the stream is beyond hope."""
        response = read_delta(data) if self._delta else read_sotw(data)
        if response.control_plane:
            self._stats.identifier.value = response.control_plane
        state = self.types.get(response.type_url)
        if state is not None and state.watches:  # nobody answers for a type that nobody asked for
            state.receive(response, self._clock())

    def expire(self) -> None:
        """What was waited for too long, and resources whose time to live is over."""
        now = self._clock()
        for state in list(self.types.values()):
            state.expire(now)

    def next_request(self) -> bytes | None:
        """The next request that may go out now, or None."""
        now = self._clock()
        if not self._connected:
            return None
        waiting = [state for state in self.types.values() if state.wants_to_send(now)]
        self._stats.pending_requests.value = len(waiting)
        if not waiting:
            return None
        if not self._pace.take(now):
            self._stats.rate_limit_enforced.value += 1
            return None
        request = waiting[0].next_request(self._node if self._first or not self._node_once else None, now)
        self._first = False
        return request

    def wake_at(self) -> float:
        """When to ask again without anything having happened: `expire`, then `next_request`; infinity for never."""
        now = self._clock()
        at = min((state.next_expiry() for state in self.types.values()), default=NEVER)
        if self._connected:
            if any(state.wants_to_send(now) for state in self.types.values()):
                at = min(at, self._pace.next_token(now))
            at = min(at, *(state.next_answer() for state in self.types.values()), NEVER)
        return at

    @property
    def congested(self) -> bool:
        """Whether so many answers wait that no more should be read."""
        return any(len(state.verdicts) >= _MANY_VERDICTS for state in self.types.values())

    def _state(self, type_url: str) -> TypeState:
        state = self.types.get(type_url)
        if state is None:
            state = self.types[type_url] = DeltaState(type_url) if self._delta else SotwState(type_url)
            self.types = dict(sorted(self.types.items(), key=lambda item: rank(item[0])))
        return state
