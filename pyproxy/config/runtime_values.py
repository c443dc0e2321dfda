"""The layered runtime: numbers and fractions that an operator may change (envoy.config.bootstrap.v3.LayeredRuntime)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from pyproxy.config.matchers import Fraction

_DENOMINATORS: Final = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000, 0: 100, 1: 10_000, 2: 1_000_000}


class RuntimeValues:
    """Merged layers, flat: `a: {b: 1}` is `a.b`. Later layers win.

    What reads a value when it is built, and not at each request, uses `watch` to be built again.
    """

    def __init__(self, layers: tuple[Mapping[str, Any], ...] = ()) -> None:
        self._layers = list(layers)
        self._watchers: dict[object, Callable[[], None]] = {}
        self._values: dict[str, Any] = {}
        self._merge()

    def replace(self, position: int, layer: Mapping[str, Any]) -> None:
        """One of the layers has changed."""
        before = self._values
        self._layers[position] = layer
        self._merge()
        if self._values != before:
            for watcher in list(self._watchers.values()):
                watcher()

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call it after each change, until the returned function is called."""
        key = object()
        self._watchers[key] = callback

        def forget() -> None:
            self._watchers.pop(key, None)

        return forget

    def _merge(self) -> None:
        self._values = {}
        for layer in self._layers:
            self._flatten("", layer)

    def number(self, key: str, default: float) -> float:
        """The number under a key, which may be written as text; the default where it is missing or not a number."""
        number = _as_number(self._values.get(key))
        return default if number is None else number

    def share(self, fraction: Fraction) -> float:
        """A fractional percent as a number from 0 to 1. A bare number under its key is a percentage (Envoy)."""
        value = self._values.get(fraction.runtime_key) if fraction.runtime_key else None
        if isinstance(value, Mapping):
            numerator = _as_number(value.get("numerator")) or 0
            denominator = _DENOMINATORS.get(value.get("denominator", 0))
            if numerator >= 0 and denominator is not None:
                return min(1.0, numerator / denominator)
        number = _as_number(value)
        if number is not None and number >= 0:
            return min(1.0, int(number) / 100)
        return min(1.0, fraction.numerator / fraction.denominator)

    def as_mapping(self) -> Mapping[str, Any]:
        return dict(self._values)

    def _flatten(self, prefix: str, layer: Mapping[str, Any]) -> None:
        for key, value in layer.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping) and not value.keys() & {"numerator", "denominator"}:
                self._flatten(f"{name}.", value)
            else:
                self._values[name] = value


def _as_number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value
