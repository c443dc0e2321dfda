"""The layered runtime: numbers and fractions that an operator may change (envoy.config.bootstrap.v3.LayeredRuntime)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyproxy.config.matchers import Fraction


class RuntimeValues:
    """Merged layers, flat: `a: {b: 1}` is `a.b`. Later layers win."""

    def __init__(self, layers: tuple[Mapping[str, Any], ...] = ()) -> None:
        self._values: dict[str, Any] = {}
        for layer in layers:
            self._flatten("", layer)

    def number(self, key: str, default: float) -> float:
        """The number under a key; the default where it is missing or not a number."""
        value = self._values.get(key, default)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else default

    def share(self, fraction: Fraction) -> float:
        """A fractional percent as a number from 0 to 1. A bare number under its key is a percentage (Envoy)."""
        value = self._values.get(fraction.runtime_key) if fraction.runtime_key else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return min(1.0, value / 100)
        return min(1.0, fraction.numerator / fraction.denominator)

    def as_mapping(self) -> Mapping[str, Any]:
        return dict(self._values)

    def _flatten(self, prefix: str, layer: Mapping[str, Any]) -> None:
        for key, value in layer.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping) and not {"numerator"} <= value.keys():
                self._flatten(f"{name}.", value)
            else:
                self._values[name] = value
