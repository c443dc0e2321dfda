"""Compiling in parts: a fault in one part does not hide those of the next, and what is not honoured yet is listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pyproxy.config.invalid import InvalidConfig, Report
from pyproxy.config.view import View

T = TypeVar("T")


def part(report: Report, fallback: T, compile_one: Callable[[], T]) -> T:
    """What `compile_one` gives; where it finds faults they are kept, and the fallback stands in until the run ends."""
    try:
        return compile_one()
    except InvalidConfig as error:
        report.faults.extend(error.faults)
        return fallback


def not_yet(view: View) -> View:
    """The same message, for reading fields that nothing honours yet.

    They are checked and have their place in the values, but reading them here leaves them listed as not honoured.
    When the live side reads a value, its field is read from `view` itself.
    """
    return View(view.message, view.path, view.report)
