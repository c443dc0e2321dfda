"""Blocks of stats: an object with one attribute per Envoy stat of a cluster, a listener, a connection manager.

The annotations in the body of a block are the table of its names. An attribute becomes a stat when it is first
touched, so a cluster that no request has used has a name and nothing more; until then the renderers show the zeros
that Envoy would show, from the table that the block has published once (`StatsBlock.table`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard, get_type_hints

from pyproxy.telemetry.metrics import Scope, StatsStore, Tally
from pyproxy.telemetry.stat import AnyStat


def _is_stat(hint: object) -> TypeGuard[type[AnyStat]]:
    return isinstance(hint, type) and issubclass(hint, AnyStat)


class StatsBlock:
    """Stats below one prefix. Subclasses annotate; `UNLISTED` names are not shown before they are used."""

    PREFIX: ClassVar[str]
    UNLISTED: ClassVar[frozenset[str]] = frozenset()
    shapes: ClassVar[dict[str, type[AnyStat]]]
    table: ClassVar[str]
    """A line `<kind> <name>` for each stat that is shown even before it is used."""

    def __init_subclass__(cls) -> None:
        cls.shapes = {name: shape for name, shape in get_type_hints(cls).items() if _is_stat(shape)}
        cls.table = "".join(
            f"{shape.kind:d} {name}\n" for name, shape in cls.shapes.items() if name not in cls.UNLISTED
        )

    def __init__(self, store: StatsStore, name: str = "", extra: str = "") -> None:
        """`extra`: further lines of the table, for names that depend on more than the class."""
        self.store = store
        self.scope = store.scope(".".join(filter(None, (self.PREFIX, name))), self.table + extra)
        self.scope.claims += 1
        self._prefix = ""
        self._cancels: list[Callable[[], None]] = []

    def close(self) -> None:
        """The thing that was counted is gone, and so are its stats, unless another block goes on with them."""
        for cancel in self._cancels:
            cancel()
        release(self.store, self.scope)

    def each_flush(self, callback: Callable[[], None]) -> None:
        """Call `callback` before each flush until the block is closed."""
        self._cancels.append(self.store.on_flush(callback))

    if not TYPE_CHECKING:

        def __getattr__(self, attribute: str) -> Any:
            shape = self.shapes.get(attribute)
            if shape is None:
                raise AttributeError(f"{type(self).__name__} has no stat {attribute!r}")
            stat = self.__dict__[attribute] = self.scope.make(shape, self._prefix + attribute)
            return stat

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.scope.prefix}>"


class StatsPart(StatsBlock):
    """Stats of a block whose names go on with a further word: `circuit_breakers.default.`. Removed with the block."""

    PREFIX = ""

    def __init__(self, block: StatsBlock, prefix: str) -> None:
        self.store = block.store
        self.scope = block.scope
        self._prefix = prefix
        self._cancels = []

    @classmethod
    def lines(cls, prefix: str) -> str:
        """The part's lines in the table of the block."""
        return "".join(line.replace(" ", f" {prefix}") for line in cls.table.splitlines(keepends=True))


class ResponseCodes(dict[int, Tally]):
    """Counts responses by status: `codes[200].value += 1`.

    One addition stands for `<prefix>upstream_rq_200`, `_2xx` and `_completed`, and the same for every further prefix.
    """

    def __init__(self, scope: Scope, prefixes: Sequence[str]) -> None:
        super().__init__()
        self._scope = scope
        self._prefixes = prefixes

    def __missing__(self, status: int) -> Tally:
        endings = [str(status) if 100 <= status < 600 else "unknown", "completed"]
        if 100 <= status < 600:
            endings.append(f"{status // 100}xx")
        names = [f"{prefix}upstream_rq_{ending}" for prefix in self._prefixes for ending in endings]
        made = self[status] = self._scope.tally(*(self._scope.counter(name) for name in names))
        return made


def release(store: StatsStore, scope: Scope) -> None:
    """One owner less; the last one takes the scope with it."""
    scope.claims -= 1
    if scope.claims <= 0:
        store.remove(scope.prefix)
