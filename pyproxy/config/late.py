"""Values that come by name while we run, and those who wait for them: the hosts of a cluster, the routes of a listener.

What nobody has asked for is kept as it came and not compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LateValues(Generic[T]):
    """Name -> value. `make` compiles one, when somebody wants it."""

    __slots__ = ("_made", "_make", "_watchers")

    def __init__(self) -> None:
        self._make: dict[str, Callable[[], T]] = {}
        self._made: dict[str, T] = {}
        self._watchers: dict[str, dict[object, Callable[[T | None], None]]] = {}

    def put(self, name: str, make: Callable[[], T]) -> None:
        """This is the value from now on. Who watches is told if it is another one."""
        self._make[name] = make
        before = self._made.pop(name, None)
        if name in self._watchers and self._value(name) != before:
            self._tell(name)

    def remove(self, name: str) -> None:
        if self._make.pop(name, None) is not None:
            self._made.pop(name, None)
            self._tell(name)

    def get(self, name: str) -> T | None:
        """The present value, if there is one."""
        return self._value(name)

    def is_watched(self, name: str) -> bool:
        """Whether a new value would be compiled at once."""
        return name in self._watchers

    def names(self) -> set[str]:
        return set(self._make)

    def watch(self, name: str, on_change: Callable[[T | None], None]) -> Callable[[], None]:
        """Call `on_change` with each new value, and with the present one at once; None: there is none (any more).

        Returns what ends that.
        """
        watcher = object()
        self._watchers.setdefault(name, {})[watcher] = on_change
        on_change(self._value(name))

        def forget() -> None:
            watchers = self._watchers.get(name, {})
            if watchers.pop(watcher, None) is not None and not watchers:
                del self._watchers[name]
                self._made.pop(name, None)

        return forget

    def _tell(self, name: str) -> None:
        watchers = self._watchers.get(name)
        if watchers:
            value = self._value(name)
            for on_change in list(watchers.values()):
                on_change(value)

    def _value(self, name: str) -> T | None:
        value = self._made.get(name)
        if value is None:
            make = self._make.get(name)
            if make is None:
                return None
            value = self._made[name] = make()
        return value

    def __repr__(self) -> str:
        return f"<LateValues {len(self._make)}, {len(self._watchers)} of them watched>"
