"""Filters of which the configuration comes from elsewhere (ECDS), as values. Envoy: ExtensionConfigSource."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyproxy.config.config_source import ConfigSourceConfig, slot_of


@dataclass(frozen=True, slots=True)
class DiscoveredConfig:
    """Stands where the configuration of a filter stands. `category` is the value of a `Category`.

    `types` are the messages that may come. `default` is what is used until one comes, and where there is none: a
    `FilterConfig`. With `without_warming` the listener does not wait.
    """

    category: str
    name: str
    source: ConfigSourceConfig
    types: tuple[str, ...]
    default: Any = None
    without_warming: bool = False

    suppress_envoy_headers: bool = False
    """Said by a router, which nobody knows before it comes."""
    reroutes: bool = True
    """It may look for a route anew."""

    @property
    def slot(self) -> str:
        """Under which a worker has it."""
        return slot_in(self.category, slot_of(self.source, self.name))


def slot_in(category: str, slot: str) -> str:
    """One resource may be the configuration of filters of different kinds."""
    return f"{category}\0{slot}"
