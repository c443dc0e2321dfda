"""Access logs as values (envoy.config.accesslog.v3.AccessLog). `telemetry.logs` builds the live ones.

The compile functions are in `config.access_log_compile`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from pyproxy.config.export import ExportTarget
from pyproxy.config.format import Format, JsonFormat
from pyproxy.config.matchers import Fraction, HeaderMatch
from pyproxy.config.tracing import CustomTagConfig


class SinkKind(Enum):
    FILE = "file"
    STDOUT = "stdout"
    STDERR = "stderr"
    COLLECTOR = "collector"
    """Entries go to a service over the network."""


class Comparison(Enum):
    EQ = "EQ"
    GE = "GE"
    LE = "LE"
    NE = "NE"


@dataclass(frozen=True, slots=True)
class CelFilter:
    """What an expression is true for."""

    expression: str


@dataclass(frozen=True, slots=True)
class StatusFilter:
    op: Comparison
    value: int
    runtime_key: str = ""


@dataclass(frozen=True, slots=True)
class DurationFilter:
    """`value` in milliseconds."""

    op: Comparison
    value: int
    runtime_key: str = ""


@dataclass(frozen=True, slots=True)
class HeaderFilter:
    match: HeaderMatch


@dataclass(frozen=True, slots=True)
class ResponseFlagFilter:
    """Short flag names; empty means any flag at all."""

    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RuntimeFilter:
    fraction: Fraction
    independent: bool = False


@dataclass(frozen=True, slots=True)
class NotHealthCheckFilter:
    pass


@dataclass(frozen=True, slots=True)
class LogTypeFilter:
    """Lines of these types, such as `DownstreamEnd`; with `exclude` all but these."""

    types: frozenset[str] = frozenset()
    exclude: bool = False


@dataclass(frozen=True, slots=True)
class AndFilter:
    filters: tuple[LogFilter, ...]


@dataclass(frozen=True, slots=True)
class OrFilter:
    filters: tuple[LogFilter, ...]


LogFilter = (
    StatusFilter
    | DurationFilter
    | HeaderFilter
    | ResponseFlagFilter
    | RuntimeFilter
    | NotHealthCheckFilter
    | LogTypeFilter
    | AndFilter
    | OrFilter
    | CelFilter
)


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """What an entry for Envoy's access log service holds beside what they all do. Header names are lower-case."""

    request_headers: tuple[bytes, ...] = ()
    response_headers: tuple[bytes, ...] = ()
    response_trailers: tuple[bytes, ...] = ()
    filter_states: tuple[str, ...] = ()
    tags: tuple[CustomTagConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class Map:
    """Values by key, in order."""

    items: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """An OpenTelemetry log record. In values texts are `Format`s, lists are tuples, maps are `Map`s."""

    body: Any = None
    attributes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class AccessLogConfig:
    """One access log: where to, in which format, which requests. `target` and `entry` are for collectors."""

    sink: SinkKind
    path: str
    format: Format | JsonFormat
    filter: LogFilter | None = None
    target: ExportTarget | None = None
    entry: ServiceEntry | RecordEntry | None = None
