"""Access logs as values (envoy.config.accesslog.v3.AccessLog). `telemetry.logs` builds the live ones.

The compile functions are in `config.access_log_compile`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pyproxy.config.format import Format, JsonFormat
from pyproxy.config.matchers import Fraction, HeaderMatch


class SinkKind(Enum):
    FILE = "file"
    STDOUT = "stdout"
    STDERR = "stderr"


class Comparison(Enum):
    EQ = "EQ"
    GE = "GE"
    LE = "LE"
    NE = "NE"


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
)


@dataclass(frozen=True, slots=True)
class AccessLogConfig:
    """One access log: where to, in which format, which requests."""

    sink: SinkKind
    path: str
    format: Format | JsonFormat
    filter: LogFilter | None = None
