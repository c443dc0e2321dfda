from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from pyproxy.clusters.discovery.cares import CaresResolver
from pyproxy.clusters.discovery.resolver import NOTHING, Resolution, ResolutionFailed
from pyproxy.config.dns import CaresConfig
from pyproxy.telemetry.dns_stats import CaresStats
from pyproxy.telemetry.metrics import StatsStore
from tests.support.dns_server import AAAA, A, DnsServer


@pytest.fixture
def server() -> Iterator[DnsServer]:
    names: dict[str, tuple[int, list[str]] | None] = {
        "both.test": (30, ["10.0.0.1", "10.0.0.2", "::1"]),
        "four.test": (7, ["10.0.0.4"]),
        "empty.test": (30, []),
        "broken.test": None,
    }
    with DnsServer(**names) as server:
        yield server


class Asking:
    def __init__(self) -> None:
        self.stats = CaresStats(StatsStore())
        self.made: list[CaresResolver] = []

    def __call__(self, *servers: DnsServer, **fields: object) -> CaresResolver:
        config = CaresConfig(tuple(one.address for one in servers), **{"tries": 1, "timeout": 5.0, **fields})  # type: ignore[arg-type]
        self.made.append(CaresResolver(asyncio.get_running_loop(), config, self.stats))
        return self.made[-1]


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    asking = Asking()
    yield asking
    for one in asking.made:
        one.close()


@pytest.mark.parametrize(
    ("name", "family", "expected", "asked"),
    [
        ("both.test", "V4_ONLY", Resolution(("10.0.0.1", "10.0.0.2"), 30.0), [A]),
        ("both.test", "AUTO", Resolution(("::1",), 30.0), [AAAA]),
        ("both.test", "V4_PREFERRED", Resolution(("10.0.0.1", "10.0.0.2"), 30.0), [A]),
        ("four.test", "AUTO", Resolution(("10.0.0.4",), 7.0), [AAAA, A]),
        ("four.test", "V6_ONLY", NOTHING, [AAAA]),
        ("empty.test", "V4_ONLY", NOTHING, [A]),
        ("missing.test", "V4_ONLY", NOTHING, [A]),
        ("10.0.0.9", "AUTO", Resolution(("10.0.0.9",)), []),
    ],
)
async def test_families_and_how_long_answers_hold(
    server: DnsServer, asking: Asking, name: str, family: str, expected: Resolution, asked: list[int]
) -> None:
    found = await asking(server, search=False).resolve(name, family)
    assert (set(found.addresses), found.ttl) == (set(expected.addresses), expected.ttl)
    assert [one.kind for one in server.asked] == asked
    assert {one.over for one in server.asked} <= {"udp"}
    assert asking.stats.resolve_total.value == len(asked)
    assert asking.stats.pending_resolutions.value == 0


async def test_both_families_at_once(server: DnsServer, asking: Asking) -> None:
    found = await asking(server).resolve("both.test", "ALL")
    assert set(found.addresses) == {"10.0.0.1", "10.0.0.2", "::1"}


async def test_over_tcp(server: DnsServer, asking: Asking) -> None:
    assert (await asking(server, tcp=True).resolve("four.test", "V4_ONLY")).addresses == ("10.0.0.4",)
    assert {one.over for one in server.asked} == {"tcp"}


async def test_no_answer_is_not_the_same_as_no_address(server: DnsServer, asking: Asking) -> None:
    with pytest.raises(ResolutionFailed, match=r"broken\.test"):
        await asking(server).resolve("broken.test", "V4_ONLY")
    assert asking.stats.get_addr_failure.value == 1
    assert await asking(server).resolve("missing.test", "V4_ONLY") == NOTHING
    assert asking.stats.not_found.value == 1


@pytest.mark.parametrize("name", ["a..b", "x" * 70 + ".test", "ü" * 80])
async def test_a_name_that_is_none_fails(server: DnsServer, asking: Asking, name: str) -> None:
    try:
        found = await asking(server).resolve(name, "V4_ONLY")
    except ResolutionFailed:
        found = NOTHING
    assert found == NOTHING
    assert server.asked == []


async def test_the_next_server_is_asked_where_one_fails(server: DnsServer, asking: Asking) -> None:
    with DnsServer() as broken:
        broken.names["four.test"] = None
        found = await asking(broken, server, tries=2).resolve("four.test", "V4_ONLY")
    assert found.addresses == ("10.0.0.4",)
    assert (len(broken.asked), len(server.asked)) == (1, 1)


async def test_a_channel_is_made_anew_after_a_timeout(asking: Asking) -> None:
    """The server is a socket that nobody reads."""
    with DnsServer() as silent:
        silent.silent = True
        resolver = asking(silent, timeout=0.02, renew_on_timeout=True)
        with pytest.raises(ResolutionFailed, match=r"four\.test"):
            await resolver.resolve("four.test", "V4_ONLY")
        assert (asking.stats.timeout.value, asking.stats.reinits.value) == (1, 1)
        silent.silent = False
        silent.names["four.test"] = (1, ["10.0.0.4"])
        assert (await asking(silent).resolve("four.test", "V4_ONLY")).addresses == ("10.0.0.4",)


async def test_a_channel_lives_as_long_as_it_may(server: DnsServer, asking: Asking) -> None:
    resolver = asking(server, lifetime=1e-9)
    for _ in range(3):
        await resolver.resolve("four.test", "V4_ONLY")
    assert asking.stats.reinits.value == 2


async def test_families_without_a_route_are_left_out(
    server: DnsServer, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyproxy.clusters.discovery.cares._has_route", lambda family: False)
    assert await asking(server, routable=True).resolve("both.test", "AUTO") == NOTHING
    assert server.asked == []


async def test_who_waits_when_it_is_closed_is_told(asking: Asking) -> None:
    with DnsServer() as silent:
        silent.silent = True
        resolver = asking(silent)
        waiting = asyncio.ensure_future(resolver.resolve("four.test", "V4_ONLY"))
        while not silent.asked:
            await asyncio.sleep(0.002)
        resolver.close()
        with pytest.raises(ResolutionFailed):
            await waiting
