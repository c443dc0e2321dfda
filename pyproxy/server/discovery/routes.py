"""RDS in the manager: a route table that gets virtual hosts from elsewhere is known once these are."""

from __future__ import annotations

import asyncio

from pyproxy.config.config_source import ConfigSourceConfig
from pyproxy.config.invalid import Fault, InvalidConfig
from pyproxy.config.resources import ResourceCompiler, ResourceType
from pyproxy.server.discovery.named import NamedResources, Wanted, settle
from pyproxy.server.discovery.sources import Sources
from pyproxy.server.discovery.store import ResourceStore
from pyproxy.server.discovery.virtual_hosts import VirtualHosts
from pyproxy.xds_client.source import NoSource
from pyproxy.xds_client.subscription import Resource


class Routes(NamedResources):
    """All route tables that come."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sources: Sources,
        store: ResourceStore,
        compiler: ResourceCompiler,
        hosts: VirtualHosts,
    ) -> None:
        super().__init__(loop, ResourceType.ROUTES, sources, store, self._check_table)
        self._compiler = compiler
        self._hosts = hosts
        self._checked: tuple[bytes, ConfigSourceConfig | None] = (b"", None)
        """The table that was compiled last, and where its virtual hosts come from."""
        self._needs: dict[str, ConfigSourceConfig] = {}
        """By slot."""

    def settle(self, wanted: Wanted, resource: Resource) -> None:
        if self._follow_hosts(wanted, resource.body):
            settle(wanted)

    def resume(self, wanted: Wanted, body: bytes) -> None:
        self._follow_hosts(wanted, body)

    def forget(self, wanted: Wanted) -> None:
        source = self._needs.pop(wanted.slot, None)
        if source is not None:
            self._hosts.release(source, wanted.name)
        super().forget(wanted)

    def _follow_hosts(self, wanted: Wanted, body: bytes) -> bool:
        """Whether the virtual hosts that a table has elsewhere are known."""
        source = self._source(body)
        before = self._needs.get(wanted.slot)
        if source == before:
            return source is None or self._hosts.knows(source, wanted.name)
        here = True
        if source is not None:
            here = self._hosts.want(source, wanted.name, lambda: settle(wanted))
            self._needs[wanted.slot] = source
        if before is not None:
            self._hosts.release(before, wanted.name)
            if source is None:
                del self._needs[wanted.slot]
        return here

    def _source(self, body: bytes) -> ConfigSourceConfig | None:
        if self._checked[0] != body:
            self._check_table(body)
        return self._checked[1]

    def _check_table(self, body: bytes) -> float:
        vhds = self._compiler.routes(body).vhds
        if vhds is not None:
            try:
                self.sources.check(vhds)
            except NoSource as error:
                raise InvalidConfig([Fault(("vhds", "config_source"), str(error))]) from None
        self._checked = (body, vhds)
        return 0.0
