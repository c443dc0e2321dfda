from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.running import Running, eventually


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(how: str = "well", *flags: str) -> Running:
        proxy = Running.stand_in(tmp_path, how, *flags)
        started.append(proxy)
        return proxy

    yield begin
    for proxy in started:
        proxy.stop()


@pytest.fixture
def proxy(start: Callable[..., Running]) -> Running:
    """With two workers, ready."""
    proxy = start("well", "--concurrency", "2")
    eventually(proxy.ready)
    eventually(lambda: proxy.said().count("started: "))
    return proxy
