"""Compiles how a cluster chooses hosts, said in either of two ways. Envoy: `lb_policy`, `load_balancing_policy`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from pyproxy.config.cluster import HashingConfig, LbPolicy, SlowStartConfig, ZoneConfig
from pyproxy.config.enums import compile_enum
from pyproxy.config.load_policy import EwmaConfig, OrcaConfig, OverrideSource
from pyproxy.config.peak_ewma_type import PACKAGES
from pyproxy.config.view import View

_PACKAGE: Final = "envoy.extensions.load_balancing_policies"

Chosen = dict[str, Any]
"""The fields of ClusterConfig that are about load balancing."""


def compile_load_balancer(view: View) -> Chosen:
    """From a `Cluster`. The extension, where there is one, replaces `lb_policy` (as in Envoy)."""
    policies = view.child("load_balancing_policy")
    if policies is not None:
        view.ignore("lb_policy", *_CONFIGS)
        return _from_extensions(policies)
    if view.enum("lb_policy") == "LOAD_BALANCING_POLICY_CONFIG":
        view.fail("load_balancing_policy", "is required by lb_policy: LOAD_BALANCING_POLICY_CONFIG")
    policy = compile_enum(view, "lb_policy", LbPolicy)
    chosen: Chosen = {"lb_policy": policy}
    common = view.child("common_lb_config")
    if common is not None and common.child("locality_weighted_lb_config") is not None:
        chosen["locality_weighted"] = True
    zones = None if common is None else common.child("zone_aware_lb_config")
    if zones is not None:
        chosen |= _zones(zones)
    match policy:
        case LbPolicy.LEAST_REQUEST:
            config = view.child("least_request_lb_config")
            chosen |= {} if config is None else _least_request(config)
        case LbPolicy.ROUND_ROBIN:
            config = view.child("round_robin_lb_config")
            chosen |= {} if config is None else _round_robin(config)
        case LbPolicy.RING_HASH:
            chosen["hashing"] = _ring(view.child("ring_hash_lb_config"), common)
        case LbPolicy.MAGLEV:
            chosen["hashing"] = _table(view.child("maglev_lb_config"), common)
        case _:
            pass
    view.ignore(*_CONFIGS)  # Envoy does not ask for the configuration of a policy it does not use
    return chosen


_DEFAULTS: Final = HashingConfig()
_ZONES: Final = ZoneConfig()
_CONFIGS: Final = ("least_request_lb_config", "round_robin_lb_config", "ring_hash_lb_config", "maglev_lb_config")


def _ring(view: View | None, common: View | None) -> HashingConfig:
    """A `RingHashLbConfig`, or a `RingHash` of the extension, which says everything itself."""
    least, most, murmur = _DEFAULTS.least_ring, _DEFAULTS.most_ring, False
    if view is not None:
        least = _or(view.wrapped("minimum_ring_size"), least)
        most = _or(view.wrapped("maximum_ring_size"), most)
        murmur = view.enum("hash_function") == "MURMUR_HASH_2"
        if least > most:
            view.fail("minimum_ring_size", f"is {least}, and the maximum is {most}", expected=f"at most {most}")
    by_hostname, factor = _consistent(common)
    return HashingConfig(least, most, murmur, by_hostname=by_hostname, balance_factor=factor)


def _table(view: View | None, common: View | None) -> HashingConfig:
    """A `MaglevLbConfig`, or a `Maglev` of the extension."""
    size = _or(None if view is None else view.wrapped("table_size"), _DEFAULTS.table_size)
    if view is not None and not _is_prime(size):
        view.fail("table_size", f"{size} is not a prime number", expected="a prime number, such as 65537")
    by_hostname, factor = _consistent(common)
    return HashingConfig(table_size=size, by_hostname=by_hostname, balance_factor=factor)


def _consistent(view: View | None) -> tuple[bool, int]:
    """What the hash balancers have in common: hosts by their names, and a bound for the load of one."""
    config = None if view is None else view.child("consistent_hashing_lb_config")
    if config is None:
        return False, 0
    return bool(config.scalar("use_hostname_for_hashing")), config.wrapped("hash_balance_factor") or 0


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _slow_start(view: View | None) -> SlowStartConfig | None:
    if view is None:
        return None
    window = view.seconds("slow_start_window")
    if not window:
        return None
    aggression, least = view.child("aggression"), view.child("min_weight_percent")
    if aggression is not None:
        aggression.ignore("runtime_key")
    return SlowStartConfig(
        window,
        1.0 if aggression is None else float(aggression.scalar("default_value")),
        10.0 if least is None else float(least.scalar("value")),
    )


def _locality(view: View) -> Chosen:
    """The `locality_lb_config` of an extension."""
    config = view.child("locality_lb_config")
    if config is None:
        return {}
    zones = config.child("zone_aware_lb_config")
    weighted = config.child("locality_weighted_lb_config") is not None
    return {"locality_weighted": weighted, **({} if zones is None else _zones(zones))}


def _zones(view: View) -> Chosen:
    """A `ZoneAwareLbConfig`, of the cluster or of an extension, which says more."""
    percent, least = view.child("routing_enabled"), view.wrapped("min_cluster_size")
    force: int | None = None
    by_weight = False
    if "force_local_zone" in view.message.DESCRIPTOR.fields_by_name:
        forced = view.child("force_local_zone")
        if bool(view.scalar("force_locality_direct_routing")) or forced is not None:
            force = 1
        if forced is not None:
            force = _or(forced.wrapped("min_size"), 1)
        by_weight = view.enum("locality_basis") == "HEALTHY_HOSTS_WEIGHT"
    # Envoy rounds the percentage.
    enabled = 100 if percent is None else int(float(percent.scalar("value")) + 0.5)
    zones = ZoneConfig(enabled, _or(least, _ZONES.min_cluster_size), force, by_weight)
    return {"zones": zones, "fail_on_panic": bool(view.scalar("fail_traffic_on_panic"))}


def _from_extensions(view: View) -> Chosen:
    """The first policy that is known; those before it are listed as not honoured (Envoy skips unknown ones)."""
    for policy in view.children("policies"):
        extension = policy.message.typed_extension_config  # type: ignore[attr-defined]
        type_name = extension.typed_config.type_url.rpartition("/")[2]
        compile_one = _POLICIES.get(type_name)
        if compile_one is None:
            continue
        chosen = policy.need("typed_extension_config")
        chosen.ignore("name")
        typed = chosen.any("typed_config")
        assert typed is not None
        return compile_one(typed)
    view.fail("policies", "holds no load balancing policy that is supported", expected=f"one of {', '.join(_POLICIES)}")


def _least_request(view: View) -> Chosen:
    choices = view.wrapped("choice_count")
    bias = view.child("active_request_bias")
    chosen: Chosen = {"lb_policy": LbPolicy.LEAST_REQUEST, "slow_start": _slow_start(view.child("slow_start_config"))}
    if choices is not None:
        chosen["least_request_choices"] = max(2, choices)
    if bias is not None:
        chosen["least_request_bias"] = bias.scalar("default_value")
        if not bias.message.runtime_key:  # type: ignore[attr-defined]
            bias.ignore("runtime_key")
    return chosen


def _least_request_policy(view: View) -> Chosen:
    full = bool(view.wrapped("enable_full_scan")) or view.enum("selection_method") == "FULL_SCAN"
    return {**_least_request(view), **_locality(view), "full_scan": full}


def _cluster_provided(_: View) -> Chosen:
    return {"lb_policy": LbPolicy.CLUSTER_PROVIDED}


def _round_robin(view: View) -> Chosen:
    return {"lb_policy": LbPolicy.ROUND_ROBIN, "slow_start": _slow_start(view.child("slow_start_config"))}


def _round_robin_policy(view: View) -> Chosen:
    return {**_round_robin(view), **_locality(view)}


def _random(view: View) -> Chosen:
    return {"lb_policy": LbPolicy.RANDOM, **_locality(view)}


def _ring_hash_policy(view: View) -> Chosen:
    old = {"by_hostname": bool(view.scalar("use_hostname_for_hashing"))}
    factor = view.wrapped("hash_balance_factor")
    hashing = _ring(view, view)
    if view.message.consistent_hashing_lb_config.ByteSize() == 0:  # type: ignore[attr-defined]
        hashing = replace(hashing, **old, balance_factor=factor or 0)
    weighted = view.child("locality_weighted_lb_config") is not None
    return {"lb_policy": LbPolicy.RING_HASH, "hashing": hashing, "locality_weighted": weighted}


def _maglev_policy(view: View) -> Chosen:
    weighted = view.child("locality_weighted_lb_config") is not None
    return {"lb_policy": LbPolicy.MAGLEV, "hashing": _table(view, view), "locality_weighted": weighted}


def _client_side(view: View) -> Chosen:
    """Load is reported with answers; reports out of band are not asked for."""
    if not view.message.enable_oob_load_report.value:  # type: ignore[attr-defined]
        view.ignore("enable_oob_load_report", "oob_reporting_period")
    penalty, default = view.wrapped("error_utilization_penalty"), OrcaConfig()
    if penalty is not None and penalty < 0:
        view.fail("error_utilization_penalty", f"is {penalty:g}", expected="0 or more")
    times = {
        field: seconds
        for field, name in (
            ("blackout", "blackout_period"),
            ("expiration", "weight_expiration_period"),
            ("update_period", "weight_update_period"),
        )
        if (seconds := view.seconds(name)) is not None
    }
    config = replace(
        default,
        **times,
        error_penalty=float(penalty or 0.0),
        metrics=tuple(view.scalars("metric_names_for_computing_utilization")),
    )
    # gRFC A58: no more often than ten times a second.
    return {
        "lb_policy": LbPolicy.CLIENT_SIDE_WEIGHTED_ROUND_ROBIN,
        "slow_start": _slow_start(view.child("slow_start_config")),
        "orca": replace(config, update_period=max(0.1, config.update_period)),
    }


def _peak_ewma(view: View) -> Chosen:
    """Each worker measures for itself, so there is nothing to be aggregated."""
    view.ignore("aggregation_interval", "max_samples_per_host")
    default, penalty = EwmaConfig(), view.wrapped("penalty_value")
    decay, rtt = view.seconds("decay_time"), view.seconds("default_rtt")
    config = EwmaConfig(
        decay_time=default.decay_time if decay is None else decay,
        default_rtt=default.default_rtt if rtt is None else rtt,
        penalty=default.penalty if penalty is None else penalty / 1000.0,  # it is in milliseconds
    )
    if config.decay_time <= 0:
        view.fail("decay_time", "is not a time", expected="more than 0s")
    return {"lb_policy": LbPolicy.PEAK_EWMA, "ewma": config}


def _wrr_locality(view: View) -> Chosen:
    """Localities by weight, and any policy within."""
    return {**_from_extensions(view.need("endpoint_picking_policy")), "locality_weighted": True}


def _override_host(view: View) -> Chosen:
    return {
        **_from_extensions(view.need("fallback_policy")),
        "overrides": view.each("override_host_sources", _override_source),
    }


def _override_source(view: View) -> OverrideSource:
    header, metadata = view.text("header"), view.child("metadata")
    if bool(header) is (metadata is not None):
        view.fail("header", "is to be said, or metadata", expected="one of the two")
    if metadata is None:
        return OverrideSource(header.lower().encode())
    path = tuple(segment.text("key") for segment in metadata.children("path"))
    return OverrideSource(namespace=metadata.text("key"), path=path)


_POLICIES: Final[dict[str, Callable[[View], Chosen]]] = {
    f"{_PACKAGE}.cluster_provided.v3.ClusterProvided": _cluster_provided,
    f"{_PACKAGE}.round_robin.v3.RoundRobin": _round_robin_policy,
    f"{_PACKAGE}.least_request.v3.LeastRequest": _least_request_policy,
    f"{_PACKAGE}.random.v3.Random": _random,
    f"{_PACKAGE}.ring_hash.v3.RingHash": _ring_hash_policy,
    f"{_PACKAGE}.maglev.v3.Maglev": _maglev_policy,
    f"{_PACKAGE}.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin": _client_side,
    f"{_PACKAGE}.wrr_locality.v3.WrrLocality": _wrr_locality,
    f"{_PACKAGE}.override_host.v3.OverrideHost": _override_host,
    **{f"{package}.PeakEwma": _peak_ewma for package in PACKAGES},
}
