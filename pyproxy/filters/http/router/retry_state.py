"""What one request has had of its retry policy (Envoy: router filter, RetryStateImpl).

Each decision is made once, after a try: `after_response` or `after_error`. A retry that is allowed holds a slot of the
cluster's circuit breaker until the next decision, or until `finish`.
"""

from __future__ import annotations

from typing import Final

from pyproxy import clock
from pyproxy.clusters.circuit_breakers import ResourceLimits
from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.host import Host
from pyproxy.clusters.one_try import Try
from pyproxy.errors import ProxyError, ResponseFlag, Retriable
from pyproxy.http.message import Request, Response
from pyproxy.http.stream_info import StreamInfo
from pyproxy.routes.retry import RetryPolicy

IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""Safe to send twice (RFC 9110 9.2.2)."""
_ANOTHER_HOST: Final = 16
"""How many hosts are looked at for one that was not tried."""
_LEAST_RESET: Final = 0.001


class RetryState:
    """One of these belongs to one request whose route or headers ask for retries."""

    __slots__ = (
        "_backoff",
        "_holds",
        "_left",
        "_limits",
        "_reset",
        "_tried",
        "cluster",
        "given_up",
        "policy",
        "timed_out",
    )

    def __init__(self, policy: RetryPolicy, cluster: Cluster, limits: ResourceLimits) -> None:
        self.policy = policy
        self._limits = limits
        self._left = policy.num_retries
        self._backoff = policy.config.base_interval
        self._reset: float | None = None
        self._tried: list[Host] = []
        self._holds = False
        self.cluster = cluster
        self.given_up = False
        """The body is too large to be sent again."""
        self.timed_out = False
        """The last try took too long."""

    def after_response(self, attempt: Try, response: Response) -> bool:
        """Whether another try follows the answer to one; if so, it is counted and given up."""
        if self.given_up:
            return False
        wanted = self.policy.after_response(response)
        if wanted:
            self._reset = self.policy.reset_seconds(response, clock.now + clock.wall_offset)
        if not self._allowed(attempt, wanted, free=False):
            return False
        host = attempt.pool.host
        host.rq_error += 1
        self.cluster.stats.retry_codes[response.status].value += 1
        attempt.abandon()
        self.timed_out = False
        return True

    def after_slow(self, attempt: Try) -> bool:
        """Whether another try runs beside one that takes long; what the policy is for is not asked (Envoy)."""
        return not self.given_up and self._allowed(attempt, wanted=True, free=False)

    def after_error(self, attempt: Try, error: ProxyError) -> bool:
        """Whether another try follows one that failed; if so, it is counted."""
        info = attempt.info
        started = info.request_sent_first > 0
        flag = error.flag
        timeout = flag is ResponseFlag.UPSTREAM_REQUEST_TIMEOUT
        if self.given_up or (timeout and error.details == "response_timeout"):
            return False
        refused = error.retriable is Retriable.ALWAYS
        wanted = self.policy.after_reset(error, started=started, refused=refused)
        lost = flag is ResponseFlag.UPSTREAM_CONNECTION_FAILURE or may_repeat(attempt.request, error)
        free = lost and self._limits.own_retry_limits
        if not self._allowed(attempt, wanted, free=free):
            return not wanted and len(self._tried) == 1 and may_repeat(attempt.request, error)
        host = attempt.pool.host
        host.rq_error += 1
        if timeout:
            host.rq_timeout += 1
        self.timed_out = timeout
        return True

    def _allowed(self, attempt: Try, wanted: bool, *, free: bool) -> bool:
        """`free`: a retry costs no upstream any work that it would not have had, as nothing was sent or the connection
        had ended before."""
        self._tried.append(attempt.pool.host)
        stats, info = self.cluster.stats, attempt.request.info
        if self._holds:
            self._release()
            if not wanted:
                stats.upstream_rq_retry_success.value += 1
                for one in info.counted:
                    one.upstream_rq_retry_success.value += 1
        if not wanted:
            return False
        if self._left <= 0:
            stats.upstream_rq_retry_limit_exceeded.value += 1
            for one in info.counted:
                one.upstream_rq_retry_limit_exceeded.value += 1
            info.add_flag(ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED)
            return False
        self._left -= 1
        if free:
            self._limits.retries += 1
        elif not self._limits.try_acquire_retry():
            stats.upstream_rq_retry_overflow.value += 1
            for one in info.counted:
                one.upstream_rq_retry_overflow.value += 1
            info.add_flag(ResponseFlag.UPSTREAM_OVERFLOW)
            return False
        self._holds = True
        stats.upstream_rq_retry.value += 1
        for one in info.counted:
            one.upstream_rq_retry.value += 1
        return True

    def seconds(self) -> float:
        """How long to wait before the next try: jittered, so that those who fail together do not come back together."""
        stats = self.cluster.stats
        if self._reset is not None and self._reset > _LEAST_RESET:
            least, self._reset = self._reset, None
            stats.upstream_rq_retry_backoff_ratelimited.value += 1
            return least * (1.0 + 0.5 * clock.rng.random())
        stats.upstream_rq_retry_backoff_exponential.value += 1
        interval = self._backoff
        self._backoff = min(interval * 2, self.policy.config.max_interval)
        return interval * clock.rng.random()

    def choose(self, request: Request) -> Host | None:
        """A host for another try. What the policy would rather avoid is avoided if a few draws can do it."""
        policy, cluster, info = self.policy, self.cluster, request.info
        left = self._left_priorities()
        if left:
            return cluster.choose_elsewhere(request, left)
        host = cluster.choose(request)
        if not policy.avoids_previous and not policy.rejects:
            return host
        for draw in range(policy.config.host_selection_attempts):
            if host is None or not self._rejected(host):
                return host
            info.host_draw = draw + 1
            host = cluster.choose(request)
        info.host_draw = 0
        if host is not None and policy.avoids_previous and cluster.config.balances and self._rejected(host):
            priority = host.priority
            return another_host(cluster, lambda one: one.priority != priority or self._rejected(one)) or host
        return host

    def _left_priorities(self) -> frozenset[int]:
        """The priorities that were tried, if it is time to leave them (Envoy: previous_priorities)."""
        frequency = self.policy.config.previous_priorities
        if not frequency:
            return frozenset()
        whole = len(self._tried) // frequency * frequency
        return frozenset(self.cluster.priority_of(host) for host in self._tried[:whole])

    def _rejected(self, host: Host) -> bool:
        if self.policy.avoids_previous and host in self._tried:
            return True
        return any(rejects(host) for rejects in self.policy.rejects)

    def give_up(self) -> None:
        """The request cannot be sent again."""
        self.given_up = True
        self.cluster.stats.retry_or_shadow_abandoned.value += 1

    def finish(self) -> None:
        """The request is over."""
        if self._holds:
            self._release()

    def _release(self) -> None:
        self._holds = False
        self._limits.release_retry()


def may_repeat(request: Request, error: ProxyError) -> bool:
    """A request of which the upstream says that it did nothing may go again, whatever it is. So may one that was sent
    on a connection which the upstream was just closing, if it is idempotent and nothing of a body was given away
    (RFC 9110 9.2.2, RFC 9112 9.3.1)."""
    if error.retriable is Retriable.ALWAYS:
        return request.body is None
    return error.retriable is Retriable.IF_REUSED and request.body is None and request.method in IDEMPOTENT


def elsewhere(cluster: Cluster, request: Request, error: ProxyError, tried: Host) -> Host | None:
    """Where a request of which nothing was sent may go instead, though no policy says so; None for nowhere."""
    home: Cluster = tried.home
    if error.flag is not ResponseFlag.UPSTREAM_CONNECTION_FAILURE or not home.config.balances:
        return None
    found = another_host(home, lambda host: host is tried or host.priority != tried.priority)
    if found is None:  # this priority has nobody left
        found = cluster.choose_elsewhere(request, frozenset((cluster.priority_of(tried),)))
    return found if found is not tried else None


def another_host(cluster: Cluster, rejected: object) -> Host | None:
    """One of a few hosts in a row, begun anywhere, that is not rejected."""
    assert callable(rejected)
    hosts = cluster.host_set.eligible
    if not hosts:
        return None
    start = int(clock.rng.random() * len(hosts))
    for step in range(min(len(hosts), _ANOTHER_HOST)):
        host = hosts[(start + step) % len(hosts)]
        if not rejected(host):
            return host
    return None


_GRPC_STATUSES: Final = {
    b"0": 200,
    b"1": 499,
    b"2": 500,
    b"3": 400,
    b"4": 504,
    b"5": 404,
    b"6": 409,
    b"7": 403,
    b"8": 429,
    b"9": 400,
    b"10": 409,
    b"11": 400,
    b"12": 501,
    b"13": 500,
    b"14": 503,
    b"15": 500,
    b"16": 401,
}
"""What a gRPC status would be in HTTP (google/rpc/code.proto)."""


def seen_status(request: Request, response: Response) -> int:
    """The status by which a host is judged: that of a gRPC call which failed at once stands in `grpc-status`."""
    grpc = response.headers.index.get(b"grpc-status")
    if grpc is None or not (request.headers.get(b"content-type") or b"").startswith(b"application/grpc"):
        return response.status
    return _GRPC_STATUSES.get(grpc, response.status)


def of_last_try(error: ProxyError) -> ProxyError:
    """The same error; its text tells that there were others (Envoy)."""
    body = error.body.replace(b" reset reason: ", b" retried and the latest reset reason: ")
    return ProxyError(error.flag, error.source, error.status, error.details, body=body, headers=error.headers)


def note_attempted(info: StreamInfo, attempt: Try) -> None:
    """For the log: a connection to that host was had, and others follow."""
    upstream = attempt.info
    if upstream.local[0]:
        info.hosts_attempted = (*info.hosts_attempted, upstream.host_address)
        info.host_names_attempted = (*info.host_names_attempted, upstream.host_name or upstream.host_address)
        info.connection_ids_attempted = (*info.connection_ids_attempted, upstream.connection_id)
