"""What load balancing policies beyond Envoy's first six are told. Seconds for all times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class OrcaConfig:
    """CLIENT_SIDE_WEIGHTED_ROUND_ROBIN. A host has to report for `blackout` before it is believed, and is believed no
    more where it has not reported for `expiration`. The largest of `metrics` goes before what a host says of its
    application, and that before its CPU."""

    blackout: float = 10.0
    expiration: float = 180.0
    update_period: float = 1.0
    error_penalty: float = 0.0
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EwmaConfig:
    """PEAK_EWMA. `default_rtt` is the latency of a host that was never asked, `penalty` the cost of one that is being
    asked for the first time."""

    decay_time: float = 10.0
    default_rtt: float = 0.01
    penalty: float = 1000.0


NO_ORCA: Final = OrcaConfig()
NO_EWMA: Final = EwmaConfig()
"""Where nothing is said."""


@dataclass(frozen=True, slots=True)
class OverrideSource:
    """Where a request names the hosts that it wants: a header, or dynamic metadata."""

    header: bytes = b""
    namespace: str = ""
    path: tuple[str, ...] = ()
