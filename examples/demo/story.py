"""What happens in the demo, scene by scene, and what of it was seen. Scenes end by what is seen, not by the clock."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import ClientSession

from examples.demo.access_logs import AccessLogs, Line
from examples.demo.collector import Collector
from examples.demo.follow import Followed, followed
from examples.demo.layout import AFTER, BEFORE, FAILING, SHOP, Layout
from examples.demo.services import Service
from examples.demo.watch import Watch

PATIENCE = 120.0
"""Seconds that a scene may take longer than it is meant to; a busy machine takes its time."""
ENOUGH = 200
"""Requests that a share is judged by."""
A_FEW = 30
LEEWAY = 0.15
"""The split is drawn for each request: at so many requests this is four standard deviations."""

Split = Mapping[str, float]


@dataclass(slots=True)
class Seen:
    """What there is to tell at the end. A split is shares by version."""

    before: Split = field(default_factory=dict)
    after: Split = field(default_factory=dict)
    ejected: str = ""
    followed: Followed | None = None
    """The request that it was ejected for."""
    rotated: int = 0
    """Proxies that have new certificates."""

    def missing(self, proxies: int, errors: int) -> list[str]:
        """What should have happened and did not."""
        wanted = (
            (close(self.before, BEFORE), "traffic was not split 90/10"),
            (close(self.after, AFTER), "the canary did not shift to 50/50"),
            (bool(self.ejected), "no host was ejected"),
            (self.followed is not None and self.followed.complete, "no request could be followed through all hops"),
            (self.rotated == proxies, f"{self.rotated} of {proxies} proxies have new certificates"),
            (errors == 0, f"{errors} requests failed"),
        )
        return [text for good, text in wanted if not good]


class Story:
    """Plays the scenes once with `play`, or again and again with `repeat`."""

    def __init__(
        self, layout: Layout, logs: AccessLogs, watch: Watch, collector: Collector, failing: Service, plane: str
    ) -> None:
        self._layout = layout
        self._logs = logs
        self._watch = watch
        self._collector = collector
        self._failing = failing
        self._plane = plane
        self.scene = ""
        self.began = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3]
        """What proxies tell of before is how they started."""
        self.seen = Seen()
        self.told: deque[tuple[str, str]] = deque(maxlen=50)
        """(time, text): what we did."""

    async def play(self, duration: float) -> None:
        """All scenes within about so many seconds, longer if it takes longer."""
        part = duration / 5
        await self._steady(part)
        await self._host_fails(part)
        await self._shift(part)
        await self._rotate(part)

    async def repeat(self, part: float) -> None:
        """Until cancelled."""
        while True:
            await self.play(5 * part)
            self._weigh(BEFORE, "the canary goes back: 90/10")
            await self._pause("all is as it was", part)

    async def _steady(self, seconds: float) -> None:
        began = time.monotonic()
        await self._pause("catalog: 90 % v1, 10 % v2", seconds)
        await self._until(lambda: len(self._calls(began)) >= ENOUGH)
        self.seen.before = split(self._calls(began))

    async def _host_fails(self, seconds: float) -> None:
        """It stays ill until the request that it was ejected for has been followed."""
        address = f"127.0.0.1:{self._layout.ports[f'{FAILING.key}_proxy']}"
        self.seen.ejected, self.seen.followed = "", None
        before = set(self._ejected_for())
        self._failing.ill = True
        self._say(f"{FAILING.name} begins to answer 503")
        self.scene = "an instance of catalog fails: requests go to the other, and it is ejected"
        began = time.monotonic()
        if await self._until(lambda: address in self._watch.ejected):
            self.seen.ejected = FAILING.name
        await self._pause(self.scene, seconds - (time.monotonic() - began))
        self.scene = "one request, hop by hop: the one that it was ejected for"
        await self._follow(before)
        self._failing.ill = False
        self._say(f"{FAILING.name} is well again")
        await self._pause(self.scene, seconds)

    def _ejected_for(self) -> list[str]:
        """The traces of requests that a host was ejected for."""
        events = (one for one in self._watch.events if one.kind == "host.ejected")
        return [str(one.fields["trace_id"]) for one in events if "trace_id" in one.fields]

    async def _follow(self, known: set[str]) -> None:
        """Spans and events take a moment to arrive."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            traces = [trace for trace in self._ejected_for() if trace not in known]
            if traces:
                trace = traces[-1]
                lines, spans = self._logs.traces.get(trace, ()), self._collector.traces.get(trace, ())
                found = followed(trace, lines, spans, await self._watch.exemplars(trace), self._watch.events)
                self.seen.followed = found
                if found.complete:
                    return
            await asyncio.sleep(0.2)

    async def _shift(self, seconds: float) -> None:
        self._weigh(AFTER, "the canary is shifted: 50/50")
        self.scene = "the canary is shifted"
        came = time.monotonic()
        await self._until(lambda: len(self._calls(came)) >= A_FEW and close(split(self._calls(came)[-A_FEW:]), AFTER))
        began = time.monotonic()
        await self._pause("catalog: 50 % v1, 50 % v2", seconds - (began - came))
        await self._until(lambda: len(self._calls(began)) >= ENOUGH)
        self.seen.after = split(self._calls(began))

    async def _rotate(self, seconds: float) -> None:
        before = dict(self._watch.certificates)
        self._say("new certificates for everybody")
        self.scene = "certificates are rotated; connections that are open go on"
        began = time.monotonic()
        async with ClientSession() as session:
            await (await session.post(f"{self._plane}/rotate")).release()
        await self._until(lambda: self._new_certificates(before) == len(before) > 0)
        self.seen.rotated = self._new_certificates(before)
        await self._pause(self.scene, seconds - (time.monotonic() - began))

    def _new_certificates(self, before: Mapping[str, object]) -> int:
        return sum(now != before.get(name) for name, now in self._watch.certificates.items())

    def _calls(self, since: float) -> list[Line]:
        """What shop sent to catalog."""
        return self._logs.last(
            lambda line: line.proxy == SHOP.name and line.direction == "outbound", time.monotonic() - since
        )

    def _weigh(self, weights: Mapping[str, int], text: str) -> None:
        self._layout.weights = weights
        self._layout.write()
        self._say(f"mesh.yaml: {text}")

    def _say(self, text: str) -> None:
        self.told.append((f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3], text))

    async def _pause(self, scene: str, seconds: float) -> None:
        self.scene = scene
        await asyncio.sleep(max(0.0, seconds))

    async def _until(self, condition: Callable[[], bool]) -> bool:
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.1)
        return True


def split(calls: list[Line]) -> dict[str, float]:
    """The share of each version of catalog, by the cluster that was chosen."""
    counts = Counter(str(line.fields["cluster"]).partition("|")[2] for line in calls)
    return {version: count / counts.total() for version, count in sorted(counts.items()) if version}


def close(shares: Split, weights: Mapping[str, int]) -> bool:
    """Whether shares are those that are wanted, as near as chance allows."""
    whole = sum(weights.values())
    return bool(shares) and all(abs(shares.get(one, 0.0) - weight / whole) < LEEWAY for one, weight in weights.items())
