"""Tracing as values: what a connection manager and a route say about it, and which tracer there is.

Envoy: HttpConnectionManager.Tracing, envoy.config.route.v3.Tracing, envoy.config.trace.v3. The compile functions are in
`config.tracing_compile`, the live tracer in `telemetry.tracer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pyproxy.config.export import ExportTarget
from pyproxy.config.format import Format
from pyproxy.config.matchers import Fraction

ALL = Fraction(100, 100)


class Propagation(Enum):
    """How the context of a trace is written in headers."""

    W3C = "tracecontext"
    B3 = "b3"
    B3_MULTI = "b3multi"
    ZIPKIN = "zipkin"
    """B3 in the form in which it came, B3 multi where nothing came (Envoy's Zipkin tracer)."""
    ZIPKIN_W3C = "zipkin+tracecontext"


class SamplerKind(Enum):
    ALWAYS_ON = "always_on"
    ALWAYS_OFF = "always_off"
    RATIO = "traceidratio"


@dataclass(frozen=True, slots=True)
class SamplerConfig:
    """An OpenTelemetry sampler: it decides about those requests that Envoy's sampling lets through. `parent_based`:
    where there is a parent, that one has decided."""

    kind: SamplerKind
    ratio: float = 1.0
    parent_based: bool = False


@dataclass(frozen=True, slots=True)
class TracerConfig:
    """Which tracer, and where its spans go. `long_ids` are 128 bits of a new trace; `shared` gives the server span
    the id of the client span that it answers to (Zipkin)."""

    target: ExportTarget
    propagation: tuple[Propagation, ...] = (Propagation.W3C,)
    service_name: str = ""
    sampler: SamplerConfig | None = None
    long_ids: bool = True
    shared: bool = False
    split: bool = False
    """Upstream spans are always made, and the direction of the listener does not matter."""


@dataclass(frozen=True, slots=True)
class CustomTagConfig:
    """One attribute of every span. `default` stands in where the value is empty; None leaves the tag out."""

    name: str
    value: Format
    default: str | None = None


@dataclass(frozen=True, slots=True)
class TracingConfig:
    """`client` is the share of requests with x-client-trace-id that are traced, `random` that of all requests,
    `overall` an upper bound for both. `name` and `upstream_name` name spans, in place of Envoy's own."""

    tracer: TracerConfig | None
    client: Fraction = ALL
    random: Fraction = ALL
    overall: Fraction = ALL
    verbose: bool = False
    most_path: int = 256
    """Bytes of the path that http.url shows."""
    tags: tuple[CustomTagConfig, ...] = ()
    upstream_spans: bool = False
    name: Format | None = None
    upstream_name: Format | None = None


@dataclass(frozen=True, slots=True)
class RouteTracing:
    """What a route says. None: as the connection manager says."""

    client: Fraction | None = None
    random: Fraction | None = None
    overall: Fraction | None = None
    tags: tuple[CustomTagConfig, ...] = ()
    name: Format | None = None
    upstream_name: Format | None = None
    operation: str = ""
    """Of the decorator: names the span, and tells the other side so where it is to be told."""
    propagate: bool = True


NO_ROUTE_TRACING = RouteTracing()
