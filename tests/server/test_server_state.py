from __future__ import annotations

import pytest

from pyproxy.server.server_state import ServerState, overall

LIVE, DRAINING, PRE, INIT = ServerState


@pytest.mark.parametrize(
    ("workers", "draining", "health_failed", "state"),
    [
        ([LIVE], False, False, LIVE),
        ([LIVE, LIVE], False, False, LIVE),
        ([None, LIVE], False, False, LIVE),
        ([INIT, LIVE], False, False, LIVE),
        ([INIT, INIT], False, False, INIT),
        ([INIT, None], False, False, INIT),
        ([None, None], False, False, PRE),
        ([], False, False, PRE),
        ([LIVE], True, False, DRAINING),
        ([LIVE], False, True, DRAINING),
    ],
)
def test_the_state_of_the_proxy(
    workers: list[ServerState | None], draining: bool, health_failed: bool, state: ServerState
) -> None:
    assert overall(workers, draining=draining, health_failed=health_failed) is state
