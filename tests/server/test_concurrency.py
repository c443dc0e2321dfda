from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyproxy.server.concurrency import cgroup_quota, worker_count


def test_what_was_chosen_is_taken_but_there_is_always_one() -> None:
    assert worker_count(7) == 7
    assert worker_count(0) == 1


def test_else_no_more_than_the_processors_that_we_may_use() -> None:
    assert 1 <= worker_count(None) <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "quota"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), ("50000 100000\n", 0.5), ("nonsense", None), ("1 0", None)],
)
def test_the_quota_of_a_container(tmp_path: Path, text: str, quota: float | None) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(text)
    assert cgroup_quota(path) == quota


def test_no_container(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path / "missing") is None
