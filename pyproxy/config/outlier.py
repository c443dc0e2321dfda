"""When a host is taken out of the rotation by what requests saw of it (envoy.config.cluster.v3.OutlierDetection)."""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.view import View


@dataclass(frozen=True, slots=True)
class OutlierConfig:
    """Seconds for all times. The `enforcing_` fields are the percentage of detections that lead to an ejection."""

    consecutive_5xx: int = 5
    interval: float = 10.0
    base_ejection_time: float = 30.0
    max_ejection_time: float = 300.0
    max_ejection_time_jitter: float = 0.0
    max_ejection_percent: int = 10
    always_eject_one_host: bool = False
    enforcing_consecutive_5xx: int = 100
    enforcing_success_rate: int = 100
    success_rate_minimum_hosts: int = 5
    success_rate_request_volume: int = 100
    success_rate_stdev_factor: int = 1900
    consecutive_gateway_failure: int = 5
    enforcing_consecutive_gateway_failure: int = 0
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failure: int = 5
    enforcing_consecutive_local_origin_failure: int = 100
    enforcing_local_origin_success_rate: int = 100
    failure_percentage_threshold: int = 85
    enforcing_failure_percentage: int = 0
    enforcing_failure_percentage_local_origin: int = 0
    failure_percentage_minimum_hosts: int = 5
    failure_percentage_request_volume: int = 50
    successful_active_health_check_uneject_host: bool = True


_NUMBERS = (
    "consecutive_5xx",
    "max_ejection_percent",
    "enforcing_consecutive_5xx",
    "enforcing_success_rate",
    "success_rate_minimum_hosts",
    "success_rate_request_volume",
    "success_rate_stdev_factor",
    "consecutive_gateway_failure",
    "enforcing_consecutive_gateway_failure",
    "consecutive_local_origin_failure",
    "enforcing_consecutive_local_origin_failure",
    "enforcing_local_origin_success_rate",
    "failure_percentage_threshold",
    "enforcing_failure_percentage",
    "enforcing_failure_percentage_local_origin",
    "failure_percentage_minimum_hosts",
    "failure_percentage_request_volume",
    "always_eject_one_host",
    "successful_active_health_check_uneject_host",
)
_TIMES = ("interval", "base_ejection_time", "max_ejection_time_jitter")


def compile_outlier(cluster: View) -> OutlierConfig | None:
    """The `outlier_detection` of a `Cluster`; None where there is none. An empty one is on, with Envoy's defaults."""
    view = cluster.child("outlier_detection")
    if view is None:
        return None
    said = {name: value for name in _NUMBERS if (value := view.wrapped(name)) is not None}
    said |= {name: value for name in _TIMES if (value := view.seconds(name)) is not None}
    base = said.get("base_ejection_time", 30.0)
    most = view.seconds("max_ejection_time")
    return OutlierConfig(
        **said,
        max_ejection_time=max(300.0, base) if most is None else most,
        split_external_local_origin_errors=bool(view.scalar("split_external_local_origin_errors")),
    )
