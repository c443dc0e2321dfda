"""A switch of a filter that the runtime may turn (envoy.config.core.v3.RuntimeFeatureFlag)."""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.config.view import View


@dataclass(frozen=True, slots=True)
class FeatureFlag:
    """On where nothing is said (Envoy)."""

    default: bool = True
    key: str = ""

    def is_on(self, values: RuntimeValues) -> bool:
        return bool(values.number(self.key, self.default)) if self.key else self.default


def compile_feature_flag(view: View | None) -> FeatureFlag:
    """From the field `runtime_enabled` of a filter, which may be unset."""
    if view is None:
        return FeatureFlag()
    default = view.wrapped("default_value")
    return FeatureFlag(default is None or bool(default), view.text("runtime_key"))
