"""What the runtime says of outlier detection: `outlier_detection.<field>` goes before what clusters are configured with
(Envoy: Outlier detection, Runtime). Times have names that end in `_ms`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from pyproxy.config.outlier import OutlierConfig
from pyproxy.config.runtime_values import RuntimeValues

_NUMBERS: Final = (
    "consecutive_5xx",
    "consecutive_gateway_failure",
    "consecutive_local_origin_failure",
    "enforcing_consecutive_5xx",
    "enforcing_consecutive_gateway_failure",
    "enforcing_consecutive_local_origin_failure",
    "enforcing_failure_percentage",
    "enforcing_failure_percentage_local_origin",
    "enforcing_local_origin_success_rate",
    "enforcing_success_rate",
    "failure_percentage_minimum_hosts",
    "failure_percentage_request_volume",
    "failure_percentage_threshold",
    "max_ejection_percent",
    "success_rate_minimum_hosts",
    "success_rate_request_volume",
    "success_rate_stdev_factor",
)
_TIMES: Final = ("interval", "base_ejection_time", "max_ejection_time", "max_ejection_time_jitter")
_LEAST_INTERVAL: Final = 0.001


def apply_runtime(config: OutlierConfig, values: RuntimeValues) -> OutlierConfig:
    """The configuration as it is in force now."""
    said: dict[str, Any] = {}
    for name in _NUMBERS:
        said[name] = int(values.number(f"outlier_detection.{name}", getattr(config, name)))
    for name in _TIMES:
        said[name] = values.number(f"outlier_detection.{name}_ms", getattr(config, name) * 1000.0) / 1000.0
    said["interval"] = max(_LEAST_INTERVAL, said["interval"])
    return replace(config, **said)
