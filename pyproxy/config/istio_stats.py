"""Istio's standard metrics as values (stats.PluginConfig). `telemetry.istio_metrics` makes them live."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Reporter(Enum):
    """Which side of a request tells; the value is the label."""

    SOURCE = "source"
    DESTINATION = "destination"
    WAYPOINT = "waypoint"


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Changes to the labels of one metric (without `istio_`), or of all where `metric` is empty."""

    metric: str = ""
    drop: bool = False
    remove: tuple[str, ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    """(label, expression)"""


@dataclass(frozen=True, slots=True)
class IstioStatsConfig:
    """`reporter` None: as the listener says. `host_fallback`: the Host is the service where none is known."""

    reporter: Reporter | None = None
    host_fallback: bool = True
    rules: tuple[LabelRule, ...] = ()
