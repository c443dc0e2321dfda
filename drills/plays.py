"""The drills. Each gives one line for the table: what was seen, and whether that is good enough."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from drills.load import Clients, Seen
from drills.stage import Json, Stage

PREVIOUS = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    },
}
GOOD_ROUTE: Json = {
    "retry_policy": {
        "retry_on": "connect-failure,refused-stream,reset,5xx",
        "num_retries": 3,
        "retry_host_predicate": [PREVIOUS],
        "host_selection_retry_max_attempts": 5,
    }
}
LEAVE: Json = {
    "name": "envoy.retry_priorities.previous_priorities",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        "update_frequency": 2,
    },
}
BUDGET: Json = {
    "circuit_breakers": {
        "thresholds": [{"retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 10}}]
    }
}
EJECT: Json = {
    "outlier_detection": {
        "consecutive_5xx": 3,
        "interval": "1s",
        "base_ejection_time": "3s",
        "max_ejection_percent": 50,
    }
}


@dataclass(frozen=True, slots=True)
class Line:
    """One row: good or not, and what to show."""

    good: bool
    requests: int
    errors: int
    notes: str


Play = Callable[[Stage], Awaitable[Line]]


@dataclass(frozen=True, slots=True)
class Drill:
    name: str
    what: str
    route: Json
    cluster: Json
    play: Play
    regions: tuple[str, ...] = ()
    manager: Json = field(default_factory=dict)


def _all(seen: Seen) -> str:
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(seen.statuses.items()) if status != 200)
    return ", ".join(part for part in (statuses, f"{seen.broken} broken" if seen.broken else "") if part)


async def kill_one(stage: Stage) -> Line:
    """20 connections; after a second one of two upstreams is killed; four seconds more."""
    clients = Clients(stage.port)
    await asyncio.sleep(1)
    stage.kill_upstream(stage.ports[0])
    await asyncio.sleep(4)
    seen = await clients.stop()
    retries = await stage.stat("upstream_rq_retry")
    return Line(not seen.errors, seen.requests, seen.errors, f"{retries} retries {_all(seen)}")


async def kill_one_of_posts(stage: Stage) -> Line:
    """As above with bodies: what was given away may not be sent again unless the policy says so."""
    clients = Clients(stage.port, body=b"x" * 100)
    await asyncio.sleep(1)
    stage.kill_upstream(stage.ports[0])
    await asyncio.sleep(3)
    seen = await clients.stop()
    return Line(seen.errors <= 20, seen.requests, seen.errors, _all(seen))


async def come_back(stage: Stage) -> Line:
    """The upstream that was killed comes back: its share of the load is right again in ten seconds."""
    clients = Clients(stage.port, rate=400)
    await asyncio.sleep(1)
    stage.kill_upstream(stage.ports[0])
    await asyncio.sleep(3)
    stage.start_upstream(stage.ports[0])
    await asyncio.sleep(7)
    errors = clients.seen.errors
    clients.seen = Seen()
    await asyncio.sleep(2)
    seen = await clients.stop()
    share = 100.0 * seen.hosts.get(f"127.0.0.1:{stage.ports[0]}", 0) / max(1, seen.requests)
    good = 45 <= share <= 55
    return Line(good, seen.requests, errors + seen.errors, f"share of the host that came back {share:.0f} %")


async def storm(stage: Stage) -> Line:
    """All upstreams answer 503: how many attempts reach them for each request."""
    stage.tell("fail")
    clients = Clients(stage.port, connections=40, rate=1000)
    await asyncio.sleep(4)
    seen = await clients.stop()
    attempts = await stage.stat("upstream_rq_total")
    ratio = attempts / max(1, seen.requests)
    return Line(ratio <= 1.2, seen.requests, seen.errors, f"{ratio:.2f} attempts per request")


async def slow(stage: Stage) -> Line:
    """Upstreams take five seconds of a sudden; what is over the limit is refused at once, and recovery is quick."""
    clients = Clients(stage.port, connections=100, rate=500)
    await asyncio.sleep(1)
    before = stage.memory_kb()
    stage.tell("slow 5")
    await asyncio.sleep(4)
    grown = stage.memory_kb() - before
    refused = clients.seen.refused_in
    typical = sorted(refused)[int(len(refused) * 0.99)] * 1000 if refused else 0.0
    stage.tell("ok")
    await asyncio.sleep(5.5)  # what was sent before is still on its way
    clients.seen = Seen()
    await asyncio.sleep(1.5)
    seen = await clients.stop()
    notes = f"{len(refused)} refused, p99 {typical:.1f} ms; {grown:+} kB; {_all(seen) or 'recovered'}"
    return Line(
        bool(refused) and typical < 100 and grown < 20_000 and not seen.errors, seen.requests, seen.errors, notes
    )


SMALL_BUDGET: Json = {"circuit_breakers": {"thresholds": [{"retry_budget": {}}]}}


async def regions(stage: Stage) -> Line:
    """The first region loses one host of two, then both; then the second region goes too; then all come back."""
    clients = Clients(stage.port, rate=400)
    steps = (("all well", ()), ("half of one", (0,)), ("one gone", (1,)), ("two gone", (2, 3)))
    told, errors, requests = [], 0, 0
    for what, dying in steps:
        for number in dying:
            stage.kill_upstream(stage.ports[number])
        await asyncio.sleep(1.5 if dying else 0.5)
        errors, requests = errors + clients.seen.errors, requests + clients.seen.requests
        clients.seen = Seen()
        await asyncio.sleep(1)
        told.append(f"{what}: {_shares(stage, clients.seen)}")
    for number in range(4):
        stage.start_upstream(stage.ports[number])
    await asyncio.sleep(9)
    clients.seen = Seen()
    await asyncio.sleep(1)
    last = _shares(stage, clients.seen)
    seen = await clients.stop()
    told.append(f"back: {last}")
    # Hosts that come back from an ejection too early are tried again, so that not every error can be helped.
    return Line(
        100 * errors < requests and last.startswith("near 100"), requests + seen.requests, errors, "; ".join(told)
    )


def _shares(stage: Stage, seen: Seen) -> str:
    """Percent by region."""
    shares = dict.fromkeys(stage.regions, 0)
    for host, count in seen.hosts.items():
        shares[stage.region_of(host)] += count
    whole = max(1, sum(shares.values()))
    return " ".join(f"{region} {100 * count // whole}" for region, count in shares.items() if count)


TIGHT: Json = {"circuit_breakers": {"thresholds": [{"max_requests": 20, "max_pending_requests": 20}]}}
TRIES: Json = {"retry_policy": {"retry_on": "5xx", "num_retries": 3}}
DRILLS = (
    Drill("D1", "kill -9 of one of two, good policy", GOOD_ROUTE, {**BUDGET, **EJECT}, kill_one),
    Drill("D1-plain", "the same, no outlier detection or budget", GOOD_ROUTE, {}, kill_one),
    Drill("D1-empty", "the same, no policy at all", {}, {}, kill_one),
    Drill("D2", "the same with bodies, no policy", {}, {}, kill_one_of_posts),
    Drill("D3", "the upstream comes back", GOOD_ROUTE, {**BUDGET, **EJECT}, come_back),
    Drill("D4", "retry storm: all answer 503, budget", TRIES, SMALL_BUDGET, storm),
    Drill("D4-plain", "the same, no budget configured", TRIES, {}, storm),
    Drill(
        "region",
        "three regions by priority fail over and back",
        {"retry_policy": {**GOOD_ROUTE["retry_policy"], "retry_priority": LEAVE}},
        {**BUDGET, "outlier_detection": {**EJECT["outlier_detection"], "max_ejection_percent": 100}},
        regions,
        ("near", "next", "far"),
    ),
    Drill("D5", "slow upstreams behind a breaker", {"timeout": "10s"}, TIGHT, slow),
)
