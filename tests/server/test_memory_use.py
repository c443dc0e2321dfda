from __future__ import annotations

import os

from pyproxy.server.memory_use import MemoryUse, measure


def test_this_process() -> None:
    use = measure("this", os.getpid())
    assert use.rss >= use.pss >= use.private > 0


def test_a_process_that_is_gone() -> None:
    assert measure("gone", 2**22 + 1) == MemoryUse("gone", 2**22 + 1)
