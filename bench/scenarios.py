"""What is measured: each scenario is one value, and every target's config file is rendered from it."""

from dataclasses import dataclass

KB, MB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the result table. `rate` 0 means closed loop, else open loop at that many requests a second."""

    name: str
    about: str
    body: int = 100
    connections: int = 32
    mesh: bool = False
    close: bool = False
    routes: int = 1
    weights: tuple[int, ...] = (100,)
    rate: int = 0
    goal: float | None = None

    @property
    def profile(self) -> str:
        """`mesh` counts, logs and names each request as a sidecar does; `bare` only forwards it."""
        return "mesh" if self.mesh else "bare"

    @property
    def prefixes(self) -> list[str]:
        """The prefix of every route, in the order in which the route table lists them."""
        return [_prefix(number) for number in range(self.routes)]

    @property
    def path(self) -> str:
        """The path that is asked for: it belongs to the last route, the worst case of a linear scan."""
        return _prefix(self.routes - 1) + "item"

    @property
    def seconds(self) -> float:
        """How long an open-loop run lasts: long enough for a p99 to rest on more than a handful of requests."""
        return 4.0 if self.rate < 1000 else 2.0

    @property
    def most_requests(self) -> int:
        """Upper bound of one closed-loop run: a connection per request must not use up the local ports."""
        return 12_000 if self.close else 200_000


def _prefix(number: int) -> str:
    return f"/service-{number:05d}/"


SCENARIOS = (
    Scenario("h1-ka-bare", "keep-alive GET, 100 B reply, nothing switched on", goal=0.60),
    Scenario("h1-ka-mesh", "the same with request id, XFF, stats, JSON log", mesh=True, goal=0.60),
    Scenario("h1-64k", "keep-alive GET, 64 KB reply", body=64 * KB),
    Scenario("h1-1m", "keep-alive GET, 1 MB reply", body=MB, connections=8, goal=0.80),
    Scenario("h1-newconn", "a downstream connection per request", close=True, goal=1.20),
    Scenario("routes-1", "one prefix route"),
    Scenario("routes-100", "100 prefix routes, the last one matches", routes=100),
    Scenario("routes-10k", "10,000 prefix routes, the last one matches", routes=10_000, goal=0.05),
    Scenario("latency-100", "open loop, 100 requests/s", connections=64, rate=100),
    Scenario("latency-1k", "open loop, 1,000 requests/s", connections=64, rate=1_000),
    Scenario("latency-5k", "open loop, 5,000 requests/s", connections=64, rate=5_000),
    Scenario("latency-10k", "open loop, 10,000 requests/s", connections=64, rate=10_000),
)

DEMO = Scenario("gates-memory", "two versions behind a 90/10 weighted route", mesh=True, weights=(90, 10))
SMALL = Scenario("gates-request", "keep-alive GET, 100 B reply, nothing switched on", connections=8)
