"""The RBAC network filter as a value (envoy.extensions.filters.network.rbac.v3.RBAC).

The compile function is in `compile.py` beside it; the live one in `rbac.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyproxy.filters.common.rbac.config import RbacConfig

if TYPE_CHECKING:
    from pyproxy.filters.network.rbac.rbac import NetworkRbac
    from pyproxy.runtime import Runtime


@dataclass(frozen=True, slots=True)
class NetworkRbacConfig:
    """Without `rules` everything is allowed, and nothing counted. Shadow rules are counted and never enforced."""

    stat_prefix: str
    rules: RbacConfig | None = None
    shadow_rules: RbacConfig | None = None
    shadow_stat_prefix: str = ""

    def build(self, runtime: Runtime) -> NetworkRbac:
        """The live filter; what it needs is imported when the first one is built."""
        from pyproxy.filters.network.rbac.rbac import NetworkRbac

        return NetworkRbac(self, runtime.stats)
