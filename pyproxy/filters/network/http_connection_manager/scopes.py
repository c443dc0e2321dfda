"""Scoped routes of a connection manager: a key out of each request chooses the route table.

Tables come when they are there, and are made at the first request that needs them. A key that no scope has finds no
route (Envoy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from pyproxy.config.config_source import slot_of
from pyproxy.config.late import LateValues
from pyproxy.config.route import RouteTableConfig
from pyproxy.config.scoped_routes import KeyFragment, ScopeConfig, ScopedRoutesConfig
from pyproxy.http.message import Request
from pyproxy.http.predicates import PSEUDO
from pyproxy.routes.table import RouteTable

MakeTable = Callable[[RouteTableConfig | None], RouteTable]
WatchRoutes = Callable[[str, Callable[[RouteTableConfig | None], None]], Callable[[], None]]
Key = tuple[bytes, ...]

_NOTHING: Final[tuple[ScopeConfig, ...]] = ()


class ScopedTables:
    """`make` makes a table; `watch_routes` follows the routes of a slot, as `LateValues.watch` does."""

    def __init__(
        self,
        config: ScopedRoutesConfig,
        scopes: LateValues[tuple[ScopeConfig, ...]],
        watch_routes: WatchRoutes,
        make: MakeTable,
    ) -> None:
        self._config = config
        self._watch_routes = watch_routes
        self._make = make
        self._readers = tuple(_reader(one) for one in config.fragments)
        self._none = make(None)
        self._scopes: dict[Key, ScopeConfig] = {}
        self._tables: dict[Key, RouteTable] = {}
        self._ends: dict[Key, Callable[[], None]] = {}
        self._forget: Callable[[], None] = _nothing
        if config.source is None:
            self._take(config.scopes)
        else:
            self._forget = scopes.watch(slot_of(config.source, config.locator), self._on_scopes)

    def of(self, request: Request) -> RouteTable:
        """The table for a request; one without routes where there is none."""
        key = self.key(request)
        return self._none if key is None else self._tables.get(key) or self._begin(key)

    def key(self, request: Request) -> Key | None:
        """None where a part of the key is missing."""
        parts = []
        for read in self._readers:
            part = read(request)
            if part is None:
                return None
            parts.append(part)
        return tuple(parts)

    def late_slot(self, request: Request) -> str:
        """The slot of routes that this request needs and that are only asked for on demand; empty if they are here."""
        key = self.key(request)
        scope = None if key is None else self._scopes.get(key)
        source = self._config.routes_source
        if scope is None or not scope.on_demand or source is None or self.of(request) is not self._none:
            return ""
        return slot_of(source, scope.routes)

    def refresh(self) -> None:
        """Runtime values are worked into tables."""
        self._none = self._make(None)
        self._tables = {key: self._make(table.config) for key, table in self._tables.items()}

    def close(self) -> None:
        self._forget()
        for end in self._ends.values():
            end()

    def _on_scopes(self, scopes: tuple[ScopeConfig, ...] | None) -> None:
        self._take(_NOTHING if scopes is None else scopes)

    def _take(self, scopes: Iterable[ScopeConfig]) -> None:
        before, self._scopes = self._scopes, {one.key: one for one in scopes}
        for key in [key for key in before if self._scopes.get(key) != before[key]]:
            self._tables.pop(key, None)
            end = self._ends.pop(key, None)
            if end is not None:
                end()

    def _begin(self, key: Key) -> RouteTable:
        """A scope is used for the first time."""
        scope, source = self._scopes.get(key), self._config.routes_source
        if scope is None:
            return self._none
        if scope.table is not None:
            self._tables[key] = self._make(scope.table)
        elif source is not None and key not in self._ends:
            self._ends[key] = self._watch_routes(
                slot_of(source, scope.routes), lambda routes: self._on_routes(key, routes)
            )
        return self._tables.get(key, self._none)

    def _on_routes(self, key: Key, routes: RouteTableConfig | None) -> None:
        if routes is None:
            self._tables.pop(key, None)
        else:
            self._tables[key] = self._make(routes)


def _reader(fragment: KeyFragment) -> Callable[[Request], bytes | None]:
    """Reads one part of the key. Only the first value of a header counts: whoever sends it is not to be believed."""
    header, cut, separator = fragment.header, fragment.element_separator, fragment.separator
    pseudo = PSEUDO.get(header)

    def elements(request: Request) -> list[bytes]:
        if pseudo is None:
            values = request.headers.get_all(header)
            if not values:
                return []
            value = values[0]
        else:
            value = pseudo(request)
        return value.split(cut) if cut else [value]

    def by_place(request: Request) -> bytes | None:
        found = elements(request)
        return found[fragment.index] if fragment.index < len(found) else None

    def by_key(request: Request) -> bytes | None:
        for element in elements(request):
            name, _, value = element.partition(separator)
            if name == fragment.key:
                return value
        return None

    return by_place if fragment.key is None else by_key


def _nothing() -> None:
    pass
