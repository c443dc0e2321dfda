"""What a host says of its load with an answer (ORCA: xds.data.orca.v3.OrcaLoadReport; Envoy: orca_parser).

In the header or trailer `endpoint-load-metrics`, behind `TEXT `, `JSON ` or `BIN ` (base64), or as gRPC does in
`endpoint-load-metrics-bin`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pyproxy.clusters.wire_fields import BYTES, FIXED64, NotAMessage, double_of, fields_of

METRICS: Final = b"endpoint-load-metrics"
METRICS_BIN: Final = b"endpoint-load-metrics-bin"

_NUMBERS: Final = {
    1: "cpu_utilization",
    2: "mem_utilization",
    6: "rps_fractional",
    7: "eps",
    9: "application_utilization",
}
_MAPS: Final = {4: "request_cost", 5: "utilization", 8: "named_metrics"}


class BadReport(ValueError):
    """What is there is no report."""


@dataclass(slots=True)
class LoadReport:
    """Utilisations are shares of 1; `rps_fractional` and `eps` are requests and errors per second."""

    cpu_utilization: float = 0.0
    mem_utilization: float = 0.0
    application_utilization: float = 0.0
    rps_fractional: float = 0.0
    eps: float = 0.0
    named_metrics: dict[str, float] = field(default_factory=dict)
    utilization: dict[str, float] = field(default_factory=dict)
    request_cost: dict[str, float] = field(default_factory=dict)

    def most(self, names: tuple[str, ...]) -> float:
        """The largest of some metrics; 0 where there is none. `named_metrics.*` are all of a map."""
        return max((value for name in names for value in self._values(name)), default=0.0)

    def _values(self, name: str) -> list[float]:
        group, dot, key = name.partition(".")
        if not dot:
            return [getattr(self, name)] if name in _NUMBERS.values() else []
        if group not in _MAPS.values():
            return []
        values: dict[str, float] = getattr(self, group)
        if key == "*":
            return list(values.values())
        return [values[key]] if key in values else []


def report_of(headers: Mapping[bytes, bytes]) -> LoadReport | None:
    """From headers or trailers; None where there is none. Raises BadReport."""
    packed = headers.get(METRICS_BIN)
    if packed is not None:
        return _of_base64(packed)
    said = headers.get(METRICS)
    if said is None:
        return None
    form, _, text = said.partition(b" ")
    match form:
        case b"TEXT":
            return _of_text(text)
        case b"JSON":
            return _of_json(text)
        case b"BIN":
            return _of_base64(text)
        case _:
            raise BadReport("it begins with neither TEXT nor JSON nor BIN")


def _of_text(text: bytes) -> LoadReport:
    """name=value, name=value"""
    report = LoadReport()
    seen: set[str] = set()
    for one in text.decode("latin-1").split(","):
        name, equals, value = one.strip().partition("=")
        if not name or not equals or name in seen:
            raise BadReport(f"{one.strip()!r} is not a metric, or is there twice")
        seen.add(name)
        number = _number(value)
        group, dot, key = name.partition(".")
        if group == "named_metrics" and dot and key:
            report.named_metrics[key] = number
        elif name in _NUMBERS.values():
            setattr(report, name, number)
        else:
            raise BadReport(f"{name!r} is not a metric")
    return report


def _of_json(text: bytes) -> LoadReport:
    try:
        said = json.loads(text)
    except ValueError:
        raise BadReport("it is not JSON") from None
    if not isinstance(said, dict):
        raise BadReport("it is not an object")
    report = LoadReport()
    for name, value in said.items():
        known = _snake(name)
        if known in _NUMBERS.values():
            setattr(report, known, _number(value))
        elif known in _MAPS.values() and isinstance(value, dict):
            setattr(report, known, {key: _number(one) for key, one in value.items()})
        elif known != "rps":
            raise BadReport(f"{name!r} is not a metric")
    return report


def _snake(name: str) -> str:
    """Protobuf's JSON has both forms of a name."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadReport(f"{value!r} is not a number") from None
    if not math.isfinite(number):
        raise BadReport(f"{value!r} is not a number")
    return number


def _of_base64(text: bytes) -> LoadReport:
    try:
        message = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise BadReport("it is not base64") from None
    report = LoadReport()
    try:
        for number, kind, value in fields_of(message):
            if number in _NUMBERS and kind == FIXED64:
                assert isinstance(value, bytes)
                setattr(report, _NUMBERS[number], double_of(value))
            elif number in _MAPS and kind == BYTES:
                assert isinstance(value, bytes)
                key, metric = _entry(value)
                getattr(report, _MAPS[number])[key] = metric
    except NotAMessage as error:
        raise BadReport(str(error)) from None
    return report


def _entry(message: bytes) -> tuple[str, float]:
    key, metric = "", 0.0
    for number, kind, value in fields_of(message):
        if number == 1 and kind == BYTES:
            assert isinstance(value, bytes)
            key = value.decode("utf-8", "replace")
        elif number == 2 and kind == FIXED64:
            assert isinstance(value, bytes)
            metric = double_of(value)
    return key, metric
