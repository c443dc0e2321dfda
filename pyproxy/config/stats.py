"""Statistics as the bootstrap wants them shown and sent (envoy.config.metrics.v3), made by `config.stats_compile`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pyproxy.config.address import AddressConfig
from pyproxy.config.export import ExportTarget
from pyproxy.config.matchers import StringMatch


@dataclass(frozen=True, slots=True)
class TagRule:
    """A part of names that is a tag. `regex` has one group, which is cut out of the name, and may have a second one
    inside it, which then is the value; empty for the rule that Envoy has for this tag."""

    name: str
    regex: str = ""


@dataclass(frozen=True, slots=True)
class StatsMatcher:
    """Which stats there are. `inclusive`: those that match, else those that do not. Nothing to match means all."""

    matches: tuple[StringMatch, ...] = ()
    inclusive: bool = False


@dataclass(frozen=True, slots=True)
class BucketRule:
    """Upper bounds of the buckets of those histograms whose names match; the first rule that fits is taken."""

    match: StringMatch
    bounds: tuple[float, ...]


class SinkKind(Enum):
    STATSD = "statsd"
    DOGSTATSD = "dogstatsd"
    OTLP = "otlp"


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """Where statistics are sent to at every flush. `address` or `tcp_cluster` for statsd, `target` for OTLP.

    `most_bytes` bounds a datagram. Deltas tell what came since the flush before, instead of since the start.
    """

    kind: SinkKind
    prefix: str = ""
    address: AddressConfig | None = None
    tcp_cluster: str = ""
    most_bytes: int = 0
    target: ExportTarget | None = None
    counter_deltas: bool = False
    histogram_deltas: bool = False
    tags_as_attributes: bool = True
    short_names: bool = True
    """The tags are not in the names."""


@dataclass(frozen=True, slots=True)
class StatsConfig:
    """`flush_interval` in seconds; `tags` are fixed (name, value) pairs for every metric."""

    flush_interval: float = 5.0
    tags: tuple[tuple[str, str], ...] = ()
    default_tags: bool = True
    tag_rules: tuple[TagRule, ...] = ()
    matcher: StatsMatcher = StatsMatcher()
    buckets: tuple[BucketRule, ...] = ()
    sinks: tuple[SinkConfig, ...] = ()
