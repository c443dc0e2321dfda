"""Attacks on HTTP/2 beside a client that means well: how soon they are ended, and what it notices of them."""

import asyncio

from drills.attacker import Attacker, Outcome
from drills.h2_attacks import ATTACKS, Attack
from drills.load import Clients, Seen
from drills.plays import Drill, Line
from drills.stage import Json, Stage

RATE = 500.0
CALM_SECONDS = 3.0
TIMES = 5
BETWEEN_SECONDS = 0.25
PATIENCE = 3.0
SOON_SECONDS = 1.0
SLOWER = 3.0
MOST_MEMORY_KB = 50 * 1024
ROOM: Json = {
    "circuit_breakers": {
        "thresholds": [dict.fromkeys(("max_connections", "max_requests", "max_pending_requests"), 10_000)]
    }
}
"""The requests of the attacker are not to fill a breaker: that is another drill."""
ROUTE: Json = {"timeout": "0s"}
MANAGER: Json = {"stream_idle_timeout": "0.5s"}
"""What nobody takes is not kept for long."""


def _drill(attack: Attack) -> Drill:
    async def play(stage: Stage) -> Line:
        clients = Clients(stage.port, 20, RATE)
        await asyncio.sleep(1)
        clients.seen = Seen()
        await asyncio.sleep(CALM_SECONDS)
        calm, clients.seen = clients.seen, Seen()
        before = stage.memory_kb()
        outcomes: list[Outcome] = []
        most = before
        for _ in range(TIMES):
            outcomes.append(await asyncio.to_thread(Attacker(stage.port, attack).play, PATIENCE))
            most = max(most, stage.memory_kb())
            await asyncio.sleep(BETWEEN_SECONDS)
        seen = await clients.stop()
        times = [one.ended_after for one in outcomes]
        slowest = max((one for one in times if one is not None), default=0.0)
        ended = None not in times and slowest <= SOON_SECONDS
        if not attack.ends:
            ended = all(one.resets for one in outcomes)
        slower = seen.percentile(99) / max(calm.percentile(99), 1e-9)
        good = ended and not seen.errors and slower < SLOWER and most - before < MOST_MEMORY_KB
        how = f"ended after {slowest * 1000:.0f} ms at most" if attack.ends else "its streams were reset"
        notes = f"{how if ended else 'NOT ENDED'}; p99 {calm.percentile(99) * 1000:.1f} -> "
        notes += f"{seen.percentile(99) * 1000:.1f} ms ({slower:.1f}x); +{(most - before) / 1024:.1f} MiB"
        return Line(good, seen.requests, seen.errors, notes)

    return Drill(f"D23-{attack.name}", attack.what, ROUTE, ROOM, play, manager=MANAGER)


DRILLS = tuple(_drill(attack) for attack in ATTACKS)
