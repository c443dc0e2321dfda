"""Metrics with the names, units and buckets of OpenTelemetry's semantic conventions for HTTP (version 1.40, stable
where the conventions are).

They are counted as all others are, in whole numbers: durations in microseconds. What shows them divides by `per_unit`.
Their names begin with `otel.`, which is not shown, and carry their labels (`stat_tags.labelled`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SEPARATOR: Final = "\x1f"
"""Stands between the words of a name that carries its labels with it (`stat_tags.labelled`)."""
PREFIX: Final = "otel."
_DURATIONS: Final = (
    5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000, 5_000_000,
    7_500_000, 10_000_000,
)  # fmt: skip
"""In microseconds; the conventions advise these (in seconds)."""
_SIZES: Final = (0, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864)
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SemanticMetric:
    """`unit` is OTLP's (UCUM), `suffix` what Prometheus adds for it; `bounds` are in what is counted."""

    name: str
    unit: str = ""
    suffix: str = ""
    per_unit: int = 1
    bounds: Sequence[float] = ()

    @property
    def stat(self) -> str:
        """What the name of the statistic begins with."""
        return PREFIX + self.name

    def scaled(self, value: float) -> float:
        """What was counted, in the unit."""
        return round(value / self.per_unit, 9) if self.per_unit > 1 else value


SERVER_DURATION: Final = SemanticMetric("http.server.request.duration", "s", "_seconds", _MICROSECONDS, _DURATIONS)
SERVER_ACTIVE: Final = SemanticMetric("http.server.active_requests", "{request}")
SERVER_REQUEST_SIZE: Final = SemanticMetric("http.server.request.body.size", "By", "_bytes", bounds=_SIZES)
SERVER_RESPONSE_SIZE: Final = SemanticMetric("http.server.response.body.size", "By", "_bytes", bounds=_SIZES)
CLIENT_DURATION: Final = SemanticMetric("http.client.request.duration", "s", "_seconds", _MICROSECONDS, _DURATIONS)
CLIENT_REQUEST_SIZE: Final = SemanticMetric("http.client.request.body.size", "By", "_bytes", bounds=_SIZES)
CLIENT_RESPONSE_SIZE: Final = SemanticMetric("http.client.response.body.size", "By", "_bytes", bounds=_SIZES)
METRICS: Final = {
    one.stat: one
    for one in (
        SERVER_DURATION,
        SERVER_ACTIVE,
        SERVER_REQUEST_SIZE,
        SERVER_RESPONSE_SIZE,
        CLIENT_DURATION,
        CLIENT_REQUEST_SIZE,
        CLIENT_RESPONSE_SIZE,
    )
}


def semantic(name: str) -> SemanticMetric | None:
    """What a statistic is, if it is one of these."""
    return METRICS.get(name.partition(SEPARATOR)[0]) if name.startswith(PREFIX) else None
