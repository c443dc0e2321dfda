from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pyproxy.clusters.manager import ClusterManager
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.tasks import DeadlineTable
from pyproxy.telemetry.metrics import StatsStore

MakeManager = Callable[..., ClusterManager]


@pytest.fixture
def store() -> StatsStore:
    return StatsStore()


@pytest.fixture
async def make_manager(store: StatsStore) -> AsyncIterator[MakeManager]:
    """Make cluster managers that are closed after the test. `runtime` is a layer of runtime values."""
    made: list[ClusterManager] = []

    def make(runtime: dict[str, Any] | None = None, **options: Any) -> ClusterManager:
        loop = asyncio.get_running_loop()
        manager = ClusterManager(loop, store, DeadlineTable(loop), RuntimeValues((runtime or {},)), **options)
        made.append(manager)
        return manager

    yield make
    for manager in made:
        manager.close()
