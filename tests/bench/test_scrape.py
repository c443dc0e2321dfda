"""The gate of scrapes: a small one for real, and the verdict."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import scrape
from bench.targets import ROOT


@pytest.mark.parametrize(
    ("spent", "meanwhile", "ok"),
    [([90.0, 99.0, 400.0], 5.0, True), ([90.0, 101.0, 400.0], 5.0, False), ([1.0], 30.0, False)],
)
def test_verdict(spent: list[float], meanwhile: float, ok: bool) -> None:
    assert scrape.judge(spent, 2048, 4.0, meanwhile)["ok"] is ok


def test_of_a_real_proxy(tmp_path: Path) -> None:
    binary = tmp_path / "pyproxy"
    binary.write_text(f'#!/bin/sh\ncd {ROOT}\nexec {sys.executable} -m pyproxy "$@"\n')
    binary.chmod(0o755)
    found = scrape.measure("pyproxy", binary, tmp_path, 0, clusters=20, active=5)
    assert found["kB"] > 10
    assert found["longest_wait_ms"] > 0
