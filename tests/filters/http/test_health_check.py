"""The health_check filter by itself. How it looks from outside is compared with Envoy in tests/oracle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pyproxy import clock
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.matchers import HeaderMatch
from pyproxy.errors import ProxyError, ResponseFlag
from pyproxy.filters.http import health_check
from pyproxy.filters.http.health_check import HealthCheck, HealthCheckFilterConfig
from pyproxy.http.body import Body
from pyproxy.http.message import Headers, Request, Response
from tests.config.compiling import CONTEXT, view
from tests.telemetry.exchanges import forwarded

TYPE = "envoy.extensions.filters.http.health_check.v3.HealthCheck"


def runtime(**clusters: Any) -> Any:
    return SimpleNamespace(node=NodeConfig(id="n", cluster="ours"), clusters=clusters, health_check_failed=False)


def cluster(healthy: int, degraded: int, all_of_them: int) -> Any:
    return SimpleNamespace(
        host_set=SimpleNamespace(hosts=range(all_of_them), healthy=range(healthy), degraded=range(degraded))
    )


async def answer(live: HealthCheck, status: int = 200, body: Body | None = None) -> Response:
    """Of a request; a reply of the filter itself comes as its error, whose details are the body."""
    request, _ = forwarded()
    request.body = body

    async def upstream(request: Request) -> Response:
        return Response(status, Headers())

    try:
        return await live(request, upstream)
    except ProxyError as error:
        return Response(error.status, Headers(list(error.headers)), Body.complete(error.details.encode()))


def said(response: Response) -> str:
    return (response.body.take() or b"").decode() if response.body else "upstream"


async def test_it_answers() -> None:
    response = await answer(HealthCheckFilterConfig(pass_through=False).build(runtime()))
    assert (response.status, said(response)) == (200, "health_check_ok")
    assert response.headers.pairs == [(b"x-envoy-upstream-healthchecked-cluster", b"ours")]


async def test_it_waits_for_a_body() -> None:
    live = HealthCheckFilterConfig(pass_through=False).build(runtime())
    assert said(await answer(live, body=Body.complete(b"abc"))) == "health_check_ok"


async def test_others_pass() -> None:
    config = HealthCheckFilterConfig(pass_through=False, headers=(HeaderMatch(b":path", present=False),))
    response = await answer(config.build(runtime()), 404)
    assert response.status == 404
    assert len(response.headers) == 0


async def test_everybody_learns_that_it_fails() -> None:
    services = runtime()
    config = HealthCheckFilterConfig(pass_through=True, headers=(HeaderMatch(b":path", present=False),))
    other = config.build(services)
    asked = HealthCheckFilterConfig(pass_through=True).build(services)
    services.health_check_failed = True
    response = await answer(other)
    assert response.headers.pairs == [(b"x-envoy-immediate-health-check-fail", b"true")]
    response = await answer(asked)
    assert (response.status, said(response)) == (503, "health_check_failed")
    assert b"x-envoy-immediate-health-check-fail" in response.headers


async def test_an_answer_is_good_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", 100.0)
    live = HealthCheckFilterConfig(pass_through=True, cache_seconds=5.0).build(runtime())
    assert said(await answer(live, 500)) == "upstream"
    response = await answer(live, 200)
    assert (response.status, said(response)) == (500, "health_check_cached")
    monkeypatch.setattr(clock, "now", 106.0)
    assert said(await answer(live, 200)) == "upstream"


@pytest.mark.parametrize(
    ("percent", "found", "status", "details"),
    [
        (50.0, cluster(1, 1, 4), 200, "health_check_ok_cluster_healthy"),
        (51.0, cluster(1, 1, 4), 503, "health_check_failed_cluster_unhealthy"),
        (0.5, cluster(0, 0, 0), 200, "health_check_ok_cluster_healthy"),
        (1.0, cluster(0, 0, 0), 503, "health_check_failed_cluster_empty"),
        (0.0, None, 503, "health_check_failed_no_cluster_found"),
    ],
)
async def test_clusters_decide(percent: float, found: Any, status: int, details: str) -> None:
    config = HealthCheckFilterConfig(pass_through=False, least_healthy=(("up", percent),))
    response = await answer(config.build(runtime(**({"up": found} if found else {}))))
    assert (response.status, said(response)) == (status, details)


async def test_a_bad_answer_has_a_flag_and_no_trace() -> None:
    request, _ = forwarded()
    request.info.span = SimpleNamespace(identity=SimpleNamespace(sampled=True))
    config = HealthCheckFilterConfig(pass_through=False, least_healthy=(("up", 1.0),))

    async def upstream(request: Request) -> Response:
        raise AssertionError

    with pytest.raises(ProxyError) as raised:
        await config.build(runtime())(request, upstream)
    assert raised.value.flag is ResponseFlag.FAILED_LOCAL_HEALTH_CHECK
    assert request.info.health_check
    assert not request.info.span.identity.sampled


def test_compiles() -> None:
    text = """
      pass_through_mode: true
      cache_time: 2.5s
      headers: [{name: ":path", string_match: {exact: /hc}}]
      cluster_min_healthy_percentages: {a: {value: 12.5}}
    """
    config = health_check.compile(view(TYPE, text), CONTEXT)
    assert (config.pass_through, config.cache_seconds, config.least_healthy) == (True, 2.5, (("a", 12.5),))
    assert [match.name for match in config.headers] == [b":path"]


def test_only_answers_of_upstreams_are_remembered() -> None:
    with pytest.raises(InvalidConfig, match="cache_time: is for answers of upstreams"):
        health_check.compile(view(TYPE, "{pass_through_mode: false, cache_time: 1s}"), CONTEXT)
