"""What is measured: each scenario is one value, and every target's config file is rendered from it."""

from dataclasses import dataclass, replace
from enum import Enum

KB, MB = 1024, 1024 * 1024


class Traffic(Enum):
    """What goes over the connections, and so what one "request" is."""

    HTTP = "a request and its answer"
    PING = "64 bytes there and 64 bytes back"
    BULK = "1 MB from the upstream"
    HANDSHAKE = "a TLS connection with one request that the proxy answers by itself"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the result table. `rate` 0 means closed loop, else open loop at that many requests a second."""

    name: str
    about: str
    body: int = 100
    connections: int = 32
    mesh: bool = False
    telemetry: bool = False
    close: bool = False
    routes: int = 1
    weights: tuple[int, ...] = (100,)
    rate: int = 0
    traffic: Traffic = Traffic.HTTP
    resume: bool = False
    pair: bool = False
    tls_in: bool = False
    tls_out: bool = False
    h2_in: bool = False
    h2_out: bool = False
    streams: int = 1
    grpc: bool = False
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
        if self.traffic is Traffic.HANDSHAKE:
            return 2_000  # the generator pays more for one than the proxy does
        return 12_000 if self.close else 200_000

    @property
    def is_tcp(self) -> bool:
        """Whether the proxy relays bytes without looking at them."""
        return self.traffic in (Traffic.PING, Traffic.BULK)

    @property
    def needs_certificates(self) -> bool:
        """Whether anybody in it speaks TLS."""
        return self.pair or self.tls_in or self.tls_out

    @property
    def hops(self) -> tuple["Scenario", ...]:
        """What each proxy on the way is configured for, the one next to the client first."""
        if not self.pair:
            return (self,)
        return replace(self, pair=False, tls_out=True), replace(self, pair=False, tls_in=True)

    @property
    def relayed(self) -> "Scenario":
        """What it is for the upstream itself, and for who only relays to it."""
        return replace(self, h2_in=self.h2_out, streams=self.streams if self.h2_out else 1)

    @property
    def left_out(self) -> dict[str, str]:
        """The targets that cannot do this, and why."""
        if self.telemetry:
            return dict.fromkeys(("haproxy", "nginx"), "it traces to no OpenTelemetry collector")
        if self.h2_out:
            return {"nginx": "it speaks HTTP/1 to upstreams, but for gRPC"}
        return {"nginx": "nginx-light comes without the stream module"} if self.is_tcp else {}


def _prefix(number: int) -> str:
    return f"/service-{number:05d}/"


FULL_HANDSHAKES = Scenario(
    "tls-full",
    "TLS 1.3 handshake, P-256 on both sides",
    connections=4,
    traffic=Traffic.HANDSHAKE,
    close=True,
    tls_in=True,
    goal=1.50,
)

H2_SMALL = Scenario(
    "h2-c4m16",
    "HTTP/2 GET, 100 B reply, 4 connections of 16 streams",
    connections=4,
    streams=16,
    h2_in=True,
    h2_out=True,
    goal=0.50,
)

SCENARIOS = (
    Scenario("h1-ka-bare", "keep-alive GET, 100 B reply, nothing switched on", goal=0.60),
    Scenario("h1-ka-mesh", "the same with request id, XFF, stats, JSON log", mesh=True, goal=0.60),
    Scenario(
        "h1-telemetry",
        "h1-ka-mesh with W3C propagation, 1 % traced over OTLP; pyproxy also with Istio's metrics",
        mesh=True,
        telemetry=True,
        goal=0.60,
    ),
    Scenario("h1-64k", "keep-alive GET, 64 KB reply", body=64 * KB),
    Scenario("h1-1m", "keep-alive GET, 1 MB reply", body=MB, connections=8, goal=0.80),
    Scenario("h1-newconn", "a downstream connection per request", close=True, goal=1.20),
    Scenario("routes-1", "one prefix route"),
    Scenario("routes-100", "100 prefix routes, the last one matches", routes=100),
    Scenario("routes-10k", "10,000 prefix routes, the last one matches", routes=10_000, goal=0.05),
    H2_SMALL,
    replace(H2_SMALL, name="h2-c32m1", about="the same on 32 connections, one at a time", connections=32, streams=1),
    Scenario("h1-h2", "keep-alive GET in, HTTP/2 to the upstream", h2_out=True, goal=0.60),
    Scenario("h2-h1", "HTTP/2 in, HTTP/1 to the upstream", connections=4, streams=16, h2_in=True),
    replace(H2_SMALL, name="grpc-unary", about="calls of 16 B, 4 connections of 16", grpc=True),
    replace(H2_SMALL, name="h2-mesh", about="HTTP/2 with request id, XFF, stats, JSON log", mesh=True, goal=0.60),
    replace(H2_SMALL, name="h2-1m", about="HTTP/2 GET, 1 MB reply", body=MB, streams=4, goal=0.90),
    Scenario("tcp-small", "64 B ping-pong over a TCP relay", traffic=Traffic.PING, goal=0.90),
    Scenario("tcp-bulk", "TCP relay, per MB (us/MB is ms/GB)", traffic=Traffic.BULK, connections=4, goal=0.60),
    Scenario("mtls-h1", "keep-alive GET through two, mutual TLS between", pair=True, goal=0.80),
    FULL_HANDSHAKES,
    replace(FULL_HANDSHAKES, name="tls-resumed", about="the same, the session is resumed", resume=True),
    Scenario("latency-100", "open loop, 100 requests/s", connections=64, rate=100),
    Scenario("latency-1k", "open loop, 1,000 requests/s", connections=64, rate=1_000),
    Scenario("latency-5k", "open loop, 5,000 requests/s", connections=64, rate=5_000),
    Scenario("latency-10k", "open loop, 10,000 requests/s", connections=64, rate=10_000),
)

DEMO = Scenario("gates-memory", "two versions behind a 90/10 weighted route", mesh=True, weights=(90, 10))
SMALL = Scenario("gates-request", "keep-alive GET, 100 B reply, nothing switched on", connections=8)
IDLE_TLS = replace(FULL_HANDSHAKES, name="gates-tls-memory", about="TLS connections at rest")
