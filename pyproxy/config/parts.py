"""Compiling in parts: a fault in one part of a message does not hide the faults of the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pyproxy.config.invalid import InvalidConfig, Report

T = TypeVar("T")


def part(report: Report, fallback: T, compile_one: Callable[[], T]) -> T:
    """What `compile_one` gives; where it finds faults they are kept, and the fallback stands in until the run ends."""
    try:
        return compile_one()
    except InvalidConfig as error:
        report.faults.extend(error.faults)
        return fallback
