"""The table of what resources cost."""

from __future__ import annotations

import pytest

from bench.discovery import MEASURES, show


def test_every_measure_is_shown_for_every_size(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = dict.fromkeys(MEASURES, 0.5)
    show({"envoy": {100: numbers, 1000: numbers}, "pyproxy": {100: {**numbers, "route_cpu_seconds": 0.123456}}})
    said = capsys.readouterr().out
    assert said.count("one route added") == 2
    assert "0.123" in said
    assert said.count("0.5") == 3 * len(MEASURES) - 1
