"""OTEL_* variables (OpenTelemetry: "Environment variable specification", "OTLP exporter configuration").

Where a collector stands is said by the configuration; the variables add to what is sent and how.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import unquote

_TIMEOUT_MS = 10_000.0


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """For one signal. `timeout` in seconds."""

    headers: tuple[tuple[str, str], ...]
    timeout: float
    compress: bool


def export_settings(signal: str) -> ExportSettings:
    """`signal` is TRACES, METRICS or LOGS; its own variables stand above those for all."""

    def said(name: str) -> str:
        return os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")

    pairs = (one.partition("=") for one in said("HEADERS").split(",") if "=" in one)
    return ExportSettings(
        headers=tuple((name.strip().lower(), unquote(value.strip())) for name, _, value in pairs if name.strip()),
        timeout=_number(said("TIMEOUT"), _TIMEOUT_MS) / 1000,
        compress=said("COMPRESSION") == "gzip",
    )


def number_of(variable: str, default: float) -> float:
    """A variable that holds a number; the default where it is unset or holds none, or none above zero."""
    return _number(os.environ.get(variable, ""), default)


def _number(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if value > 0 else default
