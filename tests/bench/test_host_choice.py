from __future__ import annotations

import pytest

from bench.host_choice import POLICIES, hosts, measure


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_can_be_measured(policy: str) -> None:
    config, weighted = POLICIES[policy]
    microseconds, milliseconds = measure(config, hosts(20, weighted=weighted), 10)
    assert microseconds > 0
    assert milliseconds > 0
