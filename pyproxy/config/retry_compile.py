"""Compiles retry policies: protobuf -> `config.retry` values. Envoy: envoy.config.route.v3.RetryPolicy."""

from __future__ import annotations

from typing import Final

from pyproxy.config.matcher_compile import compile_header_match
from pyproxy.config.metadata import compile_metadata
from pyproxy.config.retry import HostPredicate, HostPredicateConfig, ResetHeader, RetryPolicyConfig
from pyproxy.config.view import View

_LEAST_INTERVAL: Final = 0.001
_BASE_INTERVAL: Final = 0.025
_GROWTH: Final = 10
"""The longest interval is so many base intervals where nothing is said (Envoy)."""
_RESET_MAX_INTERVAL: Final = 300.0
_RETRY: Final = "envoy.extensions.retry"
_PREVIOUS_PRIORITIES: Final = f"{_RETRY}.priority.previous_priorities.v3.PreviousPrioritiesConfig"
_HOST_PREDICATES: Final = {
    f"{_RETRY}.host.previous_hosts.v3.PreviousHostsPredicate": HostPredicate.PREVIOUS_HOSTS,
    f"{_RETRY}.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate": HostPredicate.OMIT_CANARY,
    f"{_RETRY}.host.omit_host_metadata.v3.OmitHostMetadataConfig": HostPredicate.OMIT_METADATA,
}
# Old control planes choose by name alone (Envoy took these without a configuration).
_BY_NAME: Final = {
    "envoy.retry_host_predicates.previous_hosts": HostPredicate.PREVIOUS_HOSTS,
    "envoy.retry_host_predicates.omit_canary_hosts": HostPredicate.OMIT_CANARY,
}


def compile_retry(owner: View) -> RetryPolicyConfig | None:
    """The `retry_policy` of a route or a virtual host; None where there is none."""
    view = owner.child("retry_policy")
    if view is None:
        return None
    retries = view.wrapped("num_retries")
    base, most = _back_off(view.child("retry_back_off"))
    reset_headers, reset_most = _reset_headers(view.child("rate_limited_retry_back_off"))
    return RetryPolicyConfig(
        retry_on=frozenset(word.strip() for word in view.text("retry_on").split(",") if word.strip()),
        num_retries=1 if retries is None else retries,
        per_try_timeout=view.seconds("per_try_timeout") or 0.0,
        per_try_idle_timeout=view.seconds("per_try_idle_timeout") or 0.0,
        retriable_status_codes=frozenset(view.scalars("retriable_status_codes")),
        retriable_headers=view.each("retriable_headers", compile_header_match),
        retriable_request_headers=view.each("retriable_request_headers", compile_header_match),
        base_interval=base,
        max_interval=most,
        reset_headers=reset_headers,
        reset_max_interval=reset_most,
        host_predicates=view.each("retry_host_predicate", _host_predicate),
        host_selection_attempts=view.scalar("host_selection_retry_max_attempts") or 1,
        previous_priorities=_priorities(view.child("retry_priority")),
    )


def compile_hedge(owner: View) -> bool | None:
    """Whether a `hedge_policy` asks for hedging on per_try_timeout; None where there is none."""
    view = owner.child("hedge_policy")
    return None if view is None else bool(view.scalar("hedge_on_per_try_timeout"))


def compile_buffer_limit(owner: View) -> int | None:
    """How many bytes of a body a route or a virtual host keeps for another try; the newer of two fields goes first."""
    limit, old = owner.wrapped("request_body_buffer_limit"), owner.wrapped("per_request_buffer_limit_bytes")
    chosen: int | None = old if limit is None else limit
    return chosen


def _back_off(view: View | None) -> tuple[float, float]:
    """The first interval and the longest one."""
    if view is None:
        return _BASE_INTERVAL, _BASE_INTERVAL * _GROWTH
    base, most = (view.seconds(name) for name in ("base_interval", "max_interval"))
    least = max(base or 0.0, _LEAST_INTERVAL)
    if most is None:
        return least, least * _GROWTH
    most = max(most, _LEAST_INTERVAL)
    if most < least:
        view.fail("max_interval", f"{most:g}s is less than base_interval", expected=f"at least {least:g}s")
    return least, most


def _reset_headers(view: View | None) -> tuple[tuple[ResetHeader, ...], float]:
    if view is None:
        return (), _RESET_MAX_INTERVAL
    most = view.seconds("max_interval")
    headers = view.each("reset_headers", _reset_header)
    return headers, _RESET_MAX_INTERVAL if most is None else most


def _reset_header(view: View) -> ResetHeader:
    return ResetHeader(view.text("name").lower().encode(), at_time=view.enum("format") == "UNIX_TIMESTAMP")


def _host_predicate(view: View) -> HostPredicateConfig:
    name = view.text("name")
    typed = view.any("typed_config")
    if typed is None:
        if name not in _BY_NAME:
            view.fail_unknown("name", "retry host predicate", name, _BY_NAME)
        return HostPredicateConfig(_BY_NAME[name])
    kind = _HOST_PREDICATES.get(typed.type_name)
    if kind is None:
        view.fail_unknown("typed_config", "retry host predicate", typed.type_name, _HOST_PREDICATES)
    if kind is not HostPredicate.OMIT_METADATA:
        return HostPredicateConfig(kind)
    return HostPredicateConfig(kind, compile_metadata(typed, "metadata_match").get("envoy.lb", {}))


def _priorities(view: View | None) -> int:
    """After how many attempts the priorities that were tried are left."""
    if view is None:
        return 0
    view.ignore("name")  # extensions are chosen by type
    typed = view.any("typed_config")
    if typed is None or typed.type_name != _PREVIOUS_PRIORITIES:
        found = typed.type_name if typed is not None else "nothing"
        view.fail("typed_config", f"{found} is not a retry priority that is supported", expected=_PREVIOUS_PRIORITIES)
    frequency: int = typed.scalar("update_frequency")
    if frequency <= 0:
        typed.fail("update_frequency", f"is {frequency}", expected="at least 1")
    return frequency
