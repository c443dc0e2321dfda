"""Checks retry policies, which nothing honours yet: so they are listed, and mistakes are told all the same.

Envoy: envoy.config.route.v3.RetryPolicy.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.parts import not_yet
from pyproxy.config.view import View

_LEAST_INTERVAL: Final = 0.001


def check_retry_policy(owner: View) -> None:
    """The `retry_policy` of a route or a virtual host."""
    retry = not_yet(owner).child("retry_policy")
    back_off = None if retry is None else retry.child("retry_back_off")
    if back_off is None:
        return
    base, most = (back_off.seconds(name) for name in ("base_interval", "max_interval"))
    least = max(base or 0.0, _LEAST_INTERVAL)
    if most is not None and max(most, _LEAST_INTERVAL) < least:
        back_off.fail("max_interval", f"{most:g}s is less than base_interval", expected=f"at least {least:g}s")
