"""Compiles retry policies: protobuf -> `config.route.RetryPolicyConfig`. Envoy: envoy.config.route.v3.RetryPolicy."""

from __future__ import annotations

from typing import Final

from pyproxy.config.route import RetryPolicyConfig
from pyproxy.config.view import View

_BASE_INTERVAL: Final = 0.025
_LEAST_INTERVAL: Final = 0.001


def compile_retry_policy(view: View) -> RetryPolicyConfig:
    """Conditions that Envoy does not know are kept out without a word, as in Envoy."""
    number = view.wrapped("num_retries")
    base, most = _BASE_INTERVAL, 10 * _BASE_INTERVAL
    back_off = view.child("retry_back_off")
    if back_off is not None:
        base = max(back_off.seconds("base_interval") or 0.0, _LEAST_INTERVAL)
        chosen = back_off.seconds("max_interval")
        most = 10 * base if chosen is None else max(chosen, _LEAST_INTERVAL)
        if most < base:
            back_off.fail("max_interval", f"{most:g}s is less than base_interval", expected=f"at least {base:g}s")
    # Only asked when a host predicate is set, and those are listed as not honoured themselves.
    view.ignore("host_selection_retry_max_attempts")
    return RetryPolicyConfig(
        retry_on=frozenset(condition for condition in map(str.strip, view.text("retry_on").split(",")) if condition),
        num_retries=1 if number is None else number,
        per_try_timeout=view.seconds("per_try_timeout"),
        per_try_idle_timeout=view.seconds("per_try_idle_timeout"),
        status_codes=frozenset(view.scalars("retriable_status_codes")),
        back_off_base=base,
        back_off_max=most,
    )
