"""Tests that need interpreted classes, because they inherit from what mypyc compiles.

Where the hot path is compiled they are left out here and run by `scripts/test-interpreted`, on a copy without the
compiled modules; `make test` does both.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from pyproxy import clock
from pyproxy.server.build_info import is_compiled

INTERPRETED_ONLY = (
    "clusters/test_conn_pool.py",
    "clusters/test_h2_upstream.py",
    "filters/http/grpc_json_transcoder/test_bodies.py",
    "filters/http/router/test_retries.py",
    "filters/http/tap/test_tap.py",
    "filters/http/test_grpc_stats.py",
    "http/test_drive.py",
    "http/test_whole_body.py",
    "network/test_connection.py",
    "telemetry/test_live_bodies.py",
)

collect_ignore = list(INTERPRETED_ONLY) if is_compiled() else []

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _now() -> None:
    """No test begins at the time at which another one, with a clock of its own, has left `clock.now`."""
    clock.tick()
