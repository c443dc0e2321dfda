"""Every difference that a case allows is explained in docs/differences.md, and every one explained there is held."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "differences.md"


@pytest.fixture(scope="module")
def allowed() -> set[str]:
    modules = (importlib.import_module(f"tests.oracle.{path.stem}") for path in HERE.glob("test_*.py"))
    cases = [case for module in modules for case in getattr(module, "CASES", ())]
    return {case.differs.anchor for case in cases if case.differs is not None}


def test_explained_and_held(allowed: set[str]) -> None:
    assert allowed == set(re.findall(r"(?m)^## (.+)$", DOCUMENT.read_text("utf-8")))


def test_no_two_cases_of_a_module_share_a_name() -> None:
    for path in HERE.glob("test_*.py"):
        cases = getattr(importlib.import_module(f"tests.oracle.{path.stem}"), "CASES", ())
        names = [case.id for case in cases]
        assert len(names) == len(set(names)), path.name
