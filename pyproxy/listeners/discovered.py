"""Network and listener filters of which the configuration comes while we run (ECDS).

A connection meets the filter as it is when it comes. Where there is no configuration it is closed (Envoy).
"""

from __future__ import annotations

from typing import Any

from pyproxy.config.discovered import DiscoveredConfig
from pyproxy.config.listener import FilterConfig
from pyproxy.filters.common.network_filter import Leave
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.network.incoming import Incoming, IncomingClosed
from pyproxy.runtime import Runtime
from pyproxy.telemetry.metrics import Counter


class DiscoveredFilter:
    """`missing` counts connections that met nothing."""

    def __init__(self, config: DiscoveredConfig, runtime: Runtime, missing: Counter) -> None:
        self._config = config
        self._runtime = runtime
        self._missing = missing
        self._live: Any = None
        self.close = runtime.filters.watch(config.slot, self._on_config)

    def admit(self, info: ConnectionInfo) -> Leave | None:
        """As `network_filter.NetworkFilter`."""
        if self._live is None:
            self._missing.value += 1
            return None
        leave: Leave | None = self._live.admit(info)
        return leave

    async def __call__(self, incoming: Incoming) -> None:
        """As a listener filter."""
        if self._live is None:
            self._missing.value += 1
            raise IncomingClosed
        await self._live(incoming)

    def _on_config(self, found: FilterConfig | None) -> None:
        made = found if found is not None and found.type_name in self._config.types else self._config.default
        self._live = None if made is None else made.config.build(self._runtime)


def build_filter(config: FilterConfig, runtime: Runtime, missing: Counter) -> Any:
    """A network filter that is not the last, or a listener filter."""
    if isinstance(config.config, DiscoveredConfig):
        return DiscoveredFilter(config.config, runtime, missing)
    return config.config.build(runtime)


def close_filters(filters: list[Any]) -> None:
    """They meet no more connections."""
    for one in filters:
        if isinstance(one, DiscoveredFilter):
            one.close()
