"""What the tries of one request have in common: where it goes and how much time there is."""

from __future__ import annotations

from typing import Final

from pyproxy import clock
from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.one_try import Try
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.filters.http.router.replay import Replay
from pyproxy.filters.http.router.retry_state import RetryState
from pyproxy.http.message import Request
from pyproxy.routes.route import Route
from pyproxy.tasks import Deadlines

_SOON: Final = 0.001


class Call:
    """`attempt` is the last try; it is set when the first has begun."""

    __slots__ = (
        "_began",
        "attempt",
        "cluster",
        "hedged",
        "per_try",
        "replay",
        "request",
        "retry",
        "route",
        "shadow",
        "timed_out",
        "timeout",
        "tries",
    )

    def __init__(
        self, request: Request, route: Route, cluster: Cluster, timeout: Deadlines | None, per_try: Deadlines | None
    ) -> None:
        self.request = request
        self.route = route
        self.cluster = cluster
        self.timeout = timeout
        self.per_try = per_try
        self.retry: RetryState | None = None
        self.replay: Replay | None = None
        self.attempt: Try
        self.tries = 0
        self.hedged = False
        """Another try runs beside one that takes long."""
        self.shadow = False
        """It is a copy of another request."""
        self.timed_out = False
        """The last try took longer than a try may."""
        self._began = clock.now

    def keeps_no_body(self) -> None:
        """More has come of the body than is kept to send it again."""
        self.cluster.stats.retry_or_shadow_abandoned.value += 1

    def add_up(self, attempt: Try) -> None:
        """Bytes are counted over all tries (Envoy)."""
        before, info = self.attempt.info, attempt.info
        info.wire_sent, info.wire_received = before.wire_sent, before.wire_received
        info.header_sent, info.header_received = before.header_sent, before.header_received

    def arm(self, attempt: Try) -> None:
        """The clock runs from the moment when the whole request is here (Envoy: route timeout), for all tries."""
        timeout = self.timeout
        if timeout is None:
            return
        body = self.request.body
        if body is not None and not body.ended:
            attempt.timeout_after_request = timeout
        elif self.tries == 1:
            attempt.timeout = timeout
            timeout.arm(attempt)
        else:
            attempt.timeout = timeout
            timeout.arm_early(attempt, max(_SOON, self.left()))

    def left(self) -> float:
        """Seconds until the route timeout."""
        timeout = self.timeout
        assert timeout is not None
        return max(self._began, self.request.info.request_end) + timeout.seconds - clock.now

    def _runs(self) -> bool:
        """The route timeout has begun to run."""
        return self.timeout is not None and (self.request.body is None or self.request.info.request_end > 0)

    def pause(self, seconds: float) -> float:
        """How long to wait before the next try, if there is so much time."""
        return max(0.0, min(seconds, self.left())) if self._runs() else seconds

    def check_time(self) -> None:
        """Raises ProxyError where there is no time left for another try."""
        if self._runs() and self.left() <= _SOON:
            error = ProxyError(
                ResponseFlag.UPSTREAM_REQUEST_TIMEOUT,
                Source.UPSTREAM,
                504,
                "response_timeout",
                body=b"upstream request timeout",
            )
            self.cluster.stats.upstream_rq_timeout.value += 1
            for one in self.request.info.counted:
                one.upstream_rq_timeout.value += 1
            raise error

    def body_limit(self) -> int:
        """How many bytes of the body are kept for another try."""
        own: int | None = self.route.body_buffer_limit
        return self.cluster.config.buffer_limit if own is None else own
