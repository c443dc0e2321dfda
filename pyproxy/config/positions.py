"""Where in the files a path of the configuration is: what turns `Fault.path` into file, line and column.

Nothing is looked up until a place is asked for, so a good configuration pays nothing for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pyproxy.config.invalid import Fault, Path, Place


@dataclass(slots=True)
class Source:
    """One text of the configuration. `compose` gives its tree; None where the format knows no places."""

    file: str
    compose: Callable[[], Node | None] | None = None
    _root: Node | None = field(default=None, init=False)

    def root(self) -> Node | None:
        if self._root is None and self.compose is not None:
            self._root = self.compose()
        return self._root


@functools.lru_cache(4096)
def json_name(name: str) -> str:
    """The proto3 JSON name of a field: `connect_timeout` is `connectTimeout`."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


class Positions:
    """The places of one configuration, which may be a file with another text merged over it.

    Merging appends to lists and replaces scalars, so the later text is asked first, and the index of a list counts
    through all the texts.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = tuple(sources)
        self._items: dict[int, list[tuple[Node, Node]]] = {}

    def of(self, path: Path) -> Place:
        """Where the path is; the nearest enclosing place where there is none (a field that is missing)."""
        found = [(source, source.root()) for source in self._sources]
        here = [(source, root, root) for source, root in found if root is not None]
        if not here:
            return Place(self._sources[0].file if self._sources else "")
        for step in path:
            inner = [place for place in self._step_in(here, step) if place is not None]
            if not inner:
                break
            here = inner
        source, _, shown = here[-1]
        return Place(source.file, shown.start_mark.line + 1, shown.start_mark.column + 1)

    def _step_in(self, here: list[_At], step: str | int) -> Iterator[_At | None]:
        before = 0
        for source, node, shown in here:
            if isinstance(step, str):
                yield _by_key(source, node, step)
                continue
            items = self._items_of(node, shown)
            if before <= step < before + len(items):
                yield (source, *items[step - before])
            before += len(items)

    def _items_of(self, node: Node, shown: Node) -> list[tuple[Node, Node]]:
        """Kept, because a report asks for every element of a long list. The trees live as long as this does."""
        items = self._items.get(id(node))
        if items is None:
            items = self._items[id(node)] = list(_items(node, shown))
        return items

    def render(self, fault: Fault) -> str:
        """`file:line:column: path: reason; expected ...; did you mean ...?`"""
        return f"{fault.place or self.of(fault.path)}: {fault}"


_At = tuple[Source, Node, Node]
"""Whose tree, the node, and the node whose mark is shown for it (its key, if it has one)."""


def _by_key(source: Source, node: Node, step: str) -> _At | None:
    if not isinstance(node, MappingNode):
        return None
    camel = json_name(step)
    for key, value in node.value:
        if key.value == step or key.value == camel:
            return source, value, key
    inside = _typed_struct(node)
    return _by_key(source, inside, step) if inside is not None else None


def _typed_struct(node: MappingNode) -> Node | None:
    """The path through a TypedStruct goes on with the fields of the message that it describes."""
    fields = {key.value: value for key, value in node.value if isinstance(key, ScalarNode)}
    type_url = fields.get("@type")
    if type_url is not None and str(type_url.value).endswith(".TypedStruct"):
        return fields.get("value")
    return None


def _items(node: Node, shown: Node) -> Iterator[tuple[Node, Node]]:
    """The elements of a repeated field: lists inside lists are one list, a single value is a list of one."""
    if not isinstance(node, SequenceNode):
        yield node, shown
        return
    for item in node.value:
        if isinstance(item, SequenceNode):
            yield from _items(item, item)
        else:
            yield item, item
