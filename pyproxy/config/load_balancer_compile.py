"""Compiles how a cluster chooses hosts, said in either of two ways. Envoy: `lb_policy`, `load_balancing_policy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyproxy.config.cluster import LbPolicy
from pyproxy.config.enums import compile_enum
from pyproxy.config.view import View

_PACKAGE: Final = "envoy.extensions.load_balancing_policies"

Chosen = dict[str, Any]
"""The fields of ClusterConfig that are about load balancing."""


def compile_load_balancer(view: View) -> Chosen:
    """From a `Cluster`. The extension, where there is one, replaces `lb_policy` (as in Envoy)."""
    policies = view.child("load_balancing_policy")
    if policies is not None:
        view.ignore("lb_policy", "least_request_lb_config", "round_robin_lb_config")
        return _from_extensions(policies)
    if view.enum("lb_policy") == "LOAD_BALANCING_POLICY_CONFIG":
        view.fail("load_balancing_policy", "is required by lb_policy: LOAD_BALANCING_POLICY_CONFIG")
    policy = compile_enum(view, "lb_policy", LbPolicy)
    if policy is LbPolicy.LEAST_REQUEST:
        config = view.child("least_request_lb_config")
        return {"lb_policy": policy} if config is None else _least_request(config)
    view.ignore("least_request_lb_config")  # Envoy does not ask for the configuration of a policy it does not use
    if policy is LbPolicy.ROUND_ROBIN:
        view.child("round_robin_lb_config")  # its slow start is listed as not honoured
    else:
        view.ignore("round_robin_lb_config")
    return {"lb_policy": policy}


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
    chosen: Chosen = {"lb_policy": LbPolicy.LEAST_REQUEST}
    if choices is not None:
        chosen["least_request_choices"] = max(2, choices)
    if bias is not None:
        chosen["least_request_bias"] = bias.scalar("default_value")
        if not bias.message.runtime_key:  # type: ignore[attr-defined]
            bias.ignore("runtime_key")
    return chosen


def _cluster_provided(_: View) -> Chosen:
    return {"lb_policy": LbPolicy.CLUSTER_PROVIDED}


def _round_robin(_: View) -> Chosen:
    return {"lb_policy": LbPolicy.ROUND_ROBIN}


def _random(_: View) -> Chosen:
    return {"lb_policy": LbPolicy.RANDOM}


_POLICIES: Final[dict[str, Callable[[View], Chosen]]] = {
    f"{_PACKAGE}.cluster_provided.v3.ClusterProvided": _cluster_provided,
    f"{_PACKAGE}.round_robin.v3.RoundRobin": _round_robin,
    f"{_PACKAGE}.least_request.v3.LeastRequest": _least_request,
    f"{_PACKAGE}.random.v3.Random": _random,
}
