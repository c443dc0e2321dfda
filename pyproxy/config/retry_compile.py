"""Compiles retry policies. Only the time for one try is honoured yet; the rest is listed, and mistakes are told.

Envoy: envoy.config.route.v3.RetryPolicy.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.parts import not_yet
from pyproxy.config.view import View

_LEAST_INTERVAL: Final = 0.001


def compile_per_try_timeout(owner: View) -> float | None:
    """Of the `retry_policy` of a route or a virtual host, 0 for none; None where there is no policy."""
    retry = owner.child("retry_policy")
    if retry is None:
        return None
    _check_back_off(not_yet(retry).child("retry_back_off"))
    return retry.seconds("per_try_timeout") or 0.0


def _check_back_off(back_off: View | None) -> None:
    if back_off is None:
        return
    base, most = (back_off.seconds(name) for name in ("base_interval", "max_interval"))
    least = max(base or 0.0, _LEAST_INTERVAL)
    if most is not None and max(most, _LEAST_INTERVAL) < least:
        back_off.fail("max_interval", f"{most:g}s is less than base_interval", expected=f"at least {least:g}s")
