"""The routes of one slot as they come: a route table (RDS), and what virtual hosts it gets from elsewhere (VHDS)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pyproxy.config.config_source import slot_of
from pyproxy.config.late import LateValues
from pyproxy.config.route import RouteTableConfig

OnRoutes = Callable[[RouteTableConfig | None], None]


class LateRoutes:
    """Calls `on_routes` with each new table, and with the present one at once, as `LateValues.watch` does."""

    def __init__(
        self,
        routes: LateValues[RouteTableConfig],
        hosts: LateValues[RouteTableConfig],
        slot: str,
        on_routes: OnRoutes,
    ) -> None:
        self._hosts = hosts
        self._on_routes = on_routes
        self._table: RouteTableConfig | None = None
        self._more: RouteTableConfig | None = None
        self._hosts_slot = ""
        self._forget_hosts: Callable[[], None] | None = None
        self._forget = routes.watch(slot, self._on_table)

    def close(self) -> None:
        self._forget()
        if self._forget_hosts is not None:
            self._forget_hosts()

    def _on_table(self, table: RouteTableConfig | None) -> None:
        self._table = table
        slot = "" if table is None or table.vhds is None else slot_of(table.vhds, table.name)
        if slot == self._hosts_slot:
            self._tell()
            return
        if self._forget_hosts is not None:
            self._forget_hosts()
            self._forget_hosts = None
        self._hosts_slot, self._more = slot, None
        if slot:
            self._forget_hosts = self._hosts.watch(slot, self._on_hosts)  # which tells at once
        else:
            self._tell()

    def _on_hosts(self, hosts: RouteTableConfig | None) -> None:
        self._more = hosts
        self._tell()

    def _tell(self) -> None:
        table, more = self._table, self._more
        if table is not None and more is not None:
            table = replace(table, virtual_hosts=table.virtual_hosts + more.virtual_hosts)
        self._on_routes(table)
