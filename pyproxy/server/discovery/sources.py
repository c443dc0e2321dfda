"""Where each `ConfigSource` of the configuration leads, and the subscriptions of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from pyproxy.config.config_source import ConfigSourceConfig, PathSourceConfig, SelfSourceConfig
from pyproxy.config.resources import ResourceType
from pyproxy.xds_client.path_source import PathSource
from pyproxy.xds_client.source import NoSource
from pyproxy.xds_client.subscription import ConfigSource, ResourceSink, Subscription

MakeSource = Callable[[ConfigSourceConfig], ConfigSource]
"""For control planes. Raises NoSource."""

OnFailure = Callable[[str, str], None]


class Sources:
    """One `ConfigSource` for each that the configuration names, made when it is first asked for.

    `own` is what `self` stands for: where listeners and clusters come from.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        make_api: MakeSource,
        *,
        allow_unknown: bool,
        own: ConfigSourceConfig | None = None,
    ) -> None:
        self._own = own
        self._loop = loop
        self._make_api = make_api
        self._allow_unknown = allow_unknown
        self._made: dict[ConfigSourceConfig, ConfigSource] = {}
        self._on_failure: dict[tuple[ConfigSourceConfig, str], OnFailure] = {}

    def subscribe(
        self,
        config: ConfigSourceConfig,
        kind: ResourceType,
        sink: ResourceSink,
        names: Iterable[str],
        on_failure: OnFailure | None = None,
    ) -> Subscription:
        """Raises NoSource."""
        source = self._get(config)
        if on_failure is not None:
            self._on_failure[config, kind.url] = on_failure
        return source.subscribe(kind.url, sink, names)

    def check(self, config: ConfigSourceConfig) -> None:
        """Raises NoSource."""
        self._get(config)

    def _get(self, config: ConfigSourceConfig) -> ConfigSource:
        source = self._made.get(config)
        if source is None:
            source = self._made[config] = self._make(config)
        return source

    def _make(self, config: ConfigSourceConfig) -> ConfigSource:
        source = config.source
        if isinstance(source, SelfSourceConfig):
            if self._own is None:
                raise NoSource("self: the resource comes from nowhere else")
            return self._get(self._own)
        if isinstance(source, PathSourceConfig):
            return PathSource(
                self._loop,
                source,
                allow_unknown=self._allow_unknown,
                on_failure=lambda url, reason: self._failed(config, url, reason),
            )
        return self._make_api(config)

    def _failed(self, config: ConfigSourceConfig, type_url: str, reason: str) -> None:
        hear = self._on_failure.get((config, type_url))
        if hear is not None:
            hear(type_url, reason)
