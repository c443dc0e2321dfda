"""The router: the last HTTP filter. Chooses cluster and host, tries, and tries again where that is right.

Security posture: trusts neither side. Envoy: envoy.filters.http.router.
"""

from __future__ import annotations

from typing import Any, Final

from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.host import Host
from pyproxy.clusters.one_try import Try
from pyproxy.clusters.override_host import overriding_host
from pyproxy.clusters.pool_errors import overflow
from pyproxy.clusters.pool_of_host import pool_of
from pyproxy.clusters.transport_socket_options import options_of_request
from pyproxy.clusters.try_timers import TryTimers
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.filters.http.router.call import Call
from pyproxy.filters.http.router.config import RouterConfig
from pyproxy.filters.http.router.pause import Pause
from pyproxy.filters.http.router.race import Race
from pyproxy.filters.http.router.replay import Replay
from pyproxy.filters.http.router.reports import report, report_error, report_slow
from pyproxy.filters.http.router.retry_headers import ABOUT_RETRIES, retry_asked
from pyproxy.filters.http.router.retry_state import (
    RetryState,
    elsewhere,
    may_repeat,
    note_attempted,
    of_last_try,
)
from pyproxy.filters.http.router.shadow import Shadow, shadow_request
from pyproxy.filters.http.router.strict_headers import check_headers
from pyproxy.filters.http.router.tee import Tee
from pyproxy.filters.http.router.timeouts import CONSUMED, EXPECTED, Timeouts
from pyproxy.http.body import HIGH_WATERMARK
from pyproxy.http.fast import has_any
from pyproxy.http.message import Headers, Pair, Request, Response
from pyproxy.http.start_again import StartAgain
from pyproxy.http.stream_info import UpstreamInfo
from pyproxy.routes.internal_redirect import InternalRedirects, NotFollowed
from pyproxy.routes.retry import RetryPolicy
from pyproxy.routes.route import Route
from pyproxy.runtime import Runtime
from pyproxy.tasks import Deadlines

_ATTEMPTS: Final = b"x-envoy-attempt-count"
_SERVICE_TIME: Final = b"x-envoy-upstream-service-time"
_TIMEOUT_RETRY: Final = b"x-envoy-is-timeout-retry"


class Router:
    """One router of one filter chain; shared by all its requests."""

    __slots__ = (
        "_clusters",
        "_deadlines",
        "_live",
        "_manager",
        "_runtime",
        "_shadows",
        "_strict",
        "_tell_time",
        "_timeouts",
    )

    def __init__(self, config: RouterConfig, runtime: Runtime) -> None:
        self._tell_time = not config.suppress_envoy_headers
        self._timeouts = Timeouts(config, runtime.deadlines)
        self._strict = config.strict_check_headers
        self._runtime = runtime
        self._clusters = runtime.clusters
        self._live = runtime.clusters.live
        self._deadlines = runtime.deadlines
        self._shadows = runtime.stats.scope("http.async-client").counter("rq_total")
        self._manager: Any = None
        """Whose router it is."""

    def bind(self, manager: Any) -> None:
        self._manager = manager

    async def __call__(self, request: Request) -> Response:
        """Raises ProxyError where there is no response to give."""
        route: Route | None = request.route
        if route is None:
            raise ProxyError(ResponseFlag.NO_ROUTE_FOUND, Source.LOCAL, 404, "route_not_found")
        if route.answer is not None:  # a redirect or a direct response
            request.info.details = "direct_response"
            return route.answer(request)
        target = route.resolve(request)
        cluster = self._live.get(target.cluster) or self._clusters.get(target.cluster)
        if cluster is None:
            raise ProxyError(ResponseFlag.NO_CLUSTER_FOUND, Source.LOCAL, route.not_found_status, "cluster_not_found")
        if self._strict:
            self._check(request, cluster)
        if target.subset:
            request.info.subset = target.subset
        policy: RetryPolicy | None = route.retry
        asks = has_any(request.headers.index, CONSUMED)
        if asks and has_any(request.headers.index, ABOUT_RETRIES):
            policy = retry_asked(request.headers, route.retry_base)
        timeout = self._timeouts.of_request(request, route, asks)
        info = request.info
        per_try: Deadlines | None = None
        if route.per_try_timeout or info.per_try_ms > 0:
            per_try = self._timeouts.of_try(request, route, timeout)
        info.attempts = 1
        if route.attempt_count_in_request:
            request.headers.set(_ATTEMPTS, b"1")
        if target.mutate_request is not None:
            info.upstream = upstream = UpstreamInfo()
            cluster.tell(upstream)  # headers may name the cluster
            target.mutate_request(request)
        call = Call(request, route, cluster, timeout, per_try)
        if route.mirrors:
            self._mirror(call)
        if route.internal_redirects is not None and request.body is not None:
            call.replay = Replay(request.body, call.body_limit(), call.keeps_no_body)
        try:
            if policy is not None and policy.concerns(request):
                await self._insist(call, policy)
            else:
                await self._once(call)
        except ProxyError as error:
            if info.quiet_timeout and error.flag is ResponseFlag.UPSTREAM_REQUEST_TIMEOUT:
                raise ProxyError(error.flag, error.source, 204, error.details) from error
            if route.attempt_count_in_response:
                raise _with_header(error, (_ATTEMPTS, b"%d" % info.attempts)) from error
            raise
        attempt = call.attempt
        response = attempt.response
        assert response is not None
        if route.internal_redirects is not None and response.status in route.internal_redirects.statuses:
            self._follow(call, route.internal_redirects, attempt, response)
        upstream = attempt.info
        if self._tell_time and upstream.request_sent_last:
            _set_service_time(response.headers, int((upstream.response_first - upstream.request_sent_last) * 1000))
        for cookie in info.set_cookies:
            response.headers.add(b"set-cookie", cookie)
        info.details = "via_upstream"
        info.status = response.status
        if target.mutate_response is not None:
            target.mutate_response(request, response)
        if route.attempt_count_in_response:
            response.headers.set(_ATTEMPTS, b"%d" % info.attempts)
        return response

    def _follow(self, call: Call, redirects: InternalRedirects, attempt: Try, response: Response) -> None:
        """Raises StartAgain where a redirect is followed."""
        request, replay, stats = call.request, call.replay, call.cluster.stats
        refused: NotFollowed | None = None
        if b"location" in response.headers.index and (replay is None or replay.whole):
            body = None if replay is None else replay.begin()
            refused = redirects.follow(request, response, self._manager.route_elsewhere, body)
            if refused is None:
                attempt.abandon()
                stats.upstream_internal_redirect_succeeded_total.value += 1
                raise StartAgain(response, 0 if replay is None or request.body is None else replay.size)
            self._manager.count(refused.value)
        stats.upstream_internal_redirect_failed_total.value += 1

    def _mirror(self, call: Call) -> None:
        """Send copies of the request elsewhere."""
        request, route = call.request, call.route
        tee: Tee | None = None
        body = request.body
        if body is not None:
            tee = Tee(body, max(HIGH_WATERMARK, call.body_limit()))
            request.body = tee.main
        for mirror in route.mirrors:
            cluster = self._clusters.get(mirror.cluster(request))
            if cluster is not None:
                copied = shadow_request(
                    request, mirror.authority(request.authority), None if tee is None else tee.copy()
                )
                shadow = Call(copied, route, cluster, call.timeout, None)
                shadow.shadow = True
                self._shadows.value += 1
                Shadow().run(self._cast(shadow))
        if tee is not None:
            tee.begin()

    async def _cast(self, call: Call) -> Response | None:
        await self._once(call)
        return call.attempt.response

    async def _once(self, call: Call) -> None:
        """One try, and another one where the one before did certainly nothing: once on another host if the first could
        not be reached, once again if a connection had ended before it was used."""
        moved = repeated = False
        if call.replay is not None:
            call.request.body = call.replay.begin()
        host: Host | None = None
        while True:
            attempt = self._try(call, host)
            try:
                response = await attempt
                break
            except ProxyError as error:
                if not attempt.over:  # thrown in from outside: nobody wants the response
                    attempt.abandon()
                    raise
                report_error(attempt, error)
                host = None if moved else elsewhere(call.cluster, call.request, error, attempt.pool.host)
                again = host is None and not repeated and may_repeat(call.request, error)
                if host is None and not again:
                    if call.tries > 1:
                        raise of_last_try(error) from error
                    raise
                moved, repeated = moved or host is not None, repeated or again
            note_attempted(call.request.info, attempt)
        report(attempt, response)

    async def _insist(self, call: Call, policy: RetryPolicy) -> None:
        """As many tries as the policy allows."""
        request, cluster = call.request, call.cluster
        limits = cluster.limits[1 if call.route.priority_high else 0]
        call.retry = retry = RetryState(policy, cluster, limits)
        if call.replay is not None:
            call.replay.on_lost = retry.give_up
        elif request.body is not None:
            call.replay = Replay(request.body, call.body_limit(), retry.give_up)
        hedged = request.info.hedge_on_per_try_timeout or call.route.hedge
        call.hedged = hedged and call.per_try is not None
        try:
            if call.hedged:
                await self._hedge(call, retry, Race())
            else:
                while await self._again(call, retry):
                    pass
        finally:
            retry.finish()

    async def _hedge(self, call: Call, retry: RetryState, race: Race) -> None:
        """As `_again`, but a try that takes long is left running while another one begins; the first good answer is
        the answer."""
        waiting = 0
        slow: list[Try] = []
        last: Try | None = None
        pauses: list[Pause] = []
        try:
            self._join(call, race)
            while True:
                news = await race
                attempt, error = news.attempt, news.error
                if attempt is None:
                    waiting -= 1
                    call.check_time()
                    self._join(call, race)
                    continue
                again = False
                if error is not None:
                    if attempt not in slow:
                        report_error(attempt, error)
                    if race.running or waiting:
                        if error.details != "response_timeout":
                            continue
                    elif attempt not in slow:
                        again = retry.after_error(attempt, error)
                    if not again:
                        call.attempt = attempt
                        attempt.count_late()
                        raise of_last_try(error) if call.tries > 1 else error
                elif news.response is None:
                    slow.append(attempt)
                    report_slow(attempt)
                    again = retry.after_slow(attempt)
                    retry.timed_out = True
                    if not again:
                        continue
                else:
                    report(attempt, news.response)
                    if attempt not in slow:
                        again = retry.after_response(attempt, news.response)
                    if not again:
                        if (race.running or waiting) and retry.policy.after_response(news.response):
                            attempt.abandon()  # another one may do better
                            continue
                        last = attempt
                        break
                note_attempted(call.request.info, attempt)
                call.timed_out = retry.timed_out
                pauses.append(Pause(self._runtime.loop, call.pause(retry.seconds())))
                waiting += 1
                race.after(pauses[-1])
        finally:
            for pause in pauses:
                pause.cancel()
            race.leave()
        assert last is not None
        last.count_late()
        call.attempt = last
        call.request.info.upstream = last.info

    def _join(self, call: Call, race: Race) -> None:
        if call.replay is not None:
            call.request.body = call.replay.begin()
        attempt = self._try(call, None, race)
        race.join(attempt)

    async def _again(self, call: Call, retry: RetryState) -> bool:
        """One try. Whether it has to be followed by another one, for which the time has come."""
        if call.replay is not None:
            call.request.body = call.replay.begin()
        attempt = self._try(call, None)
        try:
            response = await attempt
        except ProxyError as error:
            if not attempt.over:  # thrown in from outside
                attempt.abandon()
                raise
            report_error(attempt, error)
            if not retry.after_error(attempt, error):
                attempt.count_late()
                if call.tries > 1:
                    raise of_last_try(error) from error
                raise
        else:
            report(attempt, response)
            if not retry.after_response(attempt, response):
                attempt.count_late()
                return False
        note_attempted(call.request.info, attempt)
        if call.replay is not None:
            call.replay.pause()
        call.timed_out = retry.timed_out
        pause = Pause(self._runtime.loop, call.pause(retry.seconds()))
        try:
            await pause
        except ProxyError:
            pause.cancel()
            raise
        call.check_time()
        return True

    def _check(self, request: Request, cluster: Cluster) -> None:
        """Raises ProxyError where what the request says to the router is not valid."""
        request.info.upstream = upstream = UpstreamInfo()
        cluster.tell(upstream)
        check_headers(request, self._strict)

    def _try(self, call: Call, host: Host | None, race: Race | None = None) -> Try:
        """Begin one try: a breaker slot, a host, a connection. Raises ProxyError where there is no host."""
        request, route, cluster, retry = call.request, call.route, call.cluster, call.retry
        call.tries += 1
        if call.tries > 1:
            self._tell_again(call)
        if call.tries == 1 and cluster.hashes and route.hash is not None:
            request.info.hash = route.hash(request)
        if host is None:
            if call.tries > 1 and retry is not None:
                host = retry.choose(request)
            elif request.info.override_host and call.tries == 1:
                host = overriding_host(cluster, request)
            else:
                host = cluster.choose(request)
        if host is None:
            raise self._no_host(request, cluster)
        pool = host.pool
        home: Cluster = host.home
        if pool is None or route.priority_high or home.wants_more or request.info.connection.wants_more:
            pool = pool_of(home, host, self._runtime.cork, high=route.priority_high)
            if home.wants_more or request.info.connection.wants_more:
                pool = pool.of(options_of_request(request, home.config.http, tells=home.tells))
        limits = pool.limits
        attempt = Try(request, pool, cluster)
        if call.tries > 1:
            call.add_up(attempt)
        call.attempt = attempt
        if retry is not None:
            attempt.deferred = True
        if pool.longest_try is not None or call.per_try is not None or route.per_try_idle_timeout:
            idle = self._deadlines.of(route.per_try_idle_timeout / 4) if route.per_try_idle_timeout else None
            attempt.timers = TryTimers(attempt, pool.longest_try, call.per_try, idle)
            if race is not None:
                attempt.timers.on_slow = race.slow
        info = request.info
        info.attempts = call.tries
        info.upstream = attempt.info
        if info.span is not None:
            info.span.begin_try(request, attempt)
        if route.rewrite_host is not None and not call.shadow:
            route.rewrite_host(request, host)
        call.arm(attempt)
        host.rq_active += 1
        limits.requests += 1
        if limits.requests > limits.max_requests:
            limits.refuse_request(home.stats.upstream_rq_active_overflow)
            attempt.connection_failed(overflow())
            return attempt
        try:
            pool.submit(attempt)
        except ProxyError as error:
            attempt.info.host_address = attempt.info.host_name = ""  # it was not asked
            attempt.connection_failed(error)
        return attempt

    def _no_host(self, request: Request, cluster: Cluster) -> ProxyError:
        cluster.stats.upstream_cx_none_healthy.value += 1
        request.info.upstream = upstream = UpstreamInfo()
        cluster.tell(upstream)
        error = ProxyError(
            ResponseFlag.NO_HEALTHY_UPSTREAM, Source.LOCAL, 503, "no_healthy_upstream", body=b"no healthy upstream"
        )
        cluster.count_failure(None, error, internal=request.info.internal)
        for one in request.info.counted:
            one.count_failure(error)
        return error

    def _tell_again(self, call: Call) -> None:
        """What the headers of a further try say of it."""
        headers = call.request.headers
        if call.route.attempt_count_in_request:
            headers.set(_ATTEMPTS, b"%d" % call.tries)
        if call.route.tell_timeout_retries:
            headers.set(_TIMEOUT_RETRY, b"true" if call.timed_out else b"false")
        if self._tell_time and call.timeout is not None and EXPECTED in headers.index:
            left = call.left()
            if call.per_try is not None and not call.hedged:
                left = min(left, call.per_try.seconds)
            headers.set(EXPECTED, b"%d" % max(1, round(left * 1000)))


def _with_header(error: ProxyError, header: Pair) -> ProxyError:
    return ProxyError(
        error.flag,
        error.source,
        error.status,
        error.details,
        body=error.body,
        retriable=error.retriable,
        headers=(*error.headers, header),
    )


_SERVICE_TIMES: Final = tuple((_SERVICE_TIME, b"%d" % milliseconds) for milliseconds in range(1000))


def _set_service_time(headers: Headers, milliseconds: int) -> None:
    """How long the upstream took, in place of what it may have said itself."""
    pair = _SERVICE_TIMES[milliseconds] if 0 <= milliseconds < 1000 else (_SERVICE_TIME, b"%d" % max(0, milliseconds))
    if _SERVICE_TIME in headers.index:
        headers.set(*pair)
    else:
        headers.pairs.append(pair)
        headers.index[_SERVICE_TIME] = pair[1]
