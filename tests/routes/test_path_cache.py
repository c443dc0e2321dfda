"""What a table remembers of paths."""

from __future__ import annotations

import pytest

from pyproxy.routes import path_cache
from tests.http.requests import make_request
from tests.routes.live import hosts


def test_memory_for_paths_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_cache, "MAX_ENTRIES", 100)
    table = hosts(("one", ["one"]), ("two", ["two"]))
    for number in range(1000):
        assert table.match(make_request(f"/{number}?{number}", authority="one" if number % 3 else "two")) is not None
        assert table.match(make_request("/" + "x" * 300 + str(number), authority="one")) is not None
        assert sum(len(host.cache) for host in table.virtual_hosts) <= 100
    assert sum(len(host.cache) for host in table.virtual_hosts) > 0
