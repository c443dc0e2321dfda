"""YAML text -> a tree of nodes that know their lines -> plain Python values, with Envoy's reading of scalars.

Envoy reads YAML without a schema: a plain scalar is null, a bool (`yes`, `on` and `y` too) or a 32-bit integer
(decimal, `0x`, leading-zero octal); all else stays text, and the field that it is for decides what it means. So `1.5`
reaches a `google.protobuf.Struct` as text, as it does in Envoy (checked with 1.40).
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from pyproxy.config.invalid import Fault, InvalidConfig, Path, Place

MAX_DEPTH = 100
"""How deep protobuf nests messages; deeper documents are mistakes, such as an alias inside its own anchor."""
MAX_NODES = 5_000_000
"""Aliases can make a small text a huge document."""

_PLAIN = "plain"
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **{form: True for word in ("true", "yes", "on", "y") for form in (word, word.upper(), word.capitalize())},
    **{form: False for word in ("false", "no", "off", "n") for form in (word, word.upper(), word.capitalize())},
}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_INTEGER_STARTS = frozenset("+-0123456789")


class _Composer(CParser):
    """libyaml's composer without PyYAML's resolver: quoted or plain is all that we need to know of a scalar."""

    def __init__(self, text: str | bytes) -> None:
        CParser.__init__(self, text)

    def resolve(self, kind: type[Node], value: str, implicit: tuple[bool, bool]) -> str:
        return _PLAIN

    def descend_resolver(self, parent: Node | None, index: Any) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass


def compose(text: str | bytes, file: str) -> tuple[Node | None, bool]:
    """The first document's root (None where the text is empty), and whether another document follows.

    Raises InvalidConfig where the text is not YAML.
    """
    try:
        composer = _Composer(text)
        if not composer.check_node():
            return None, False
        return composer.get_node(), _another(composer)
    except yaml.YAMLError as error:
        raise InvalidConfig([_syntax_fault(error, text, file)]) from None


def _another(composer: _Composer) -> bool:
    try:
        return bool(composer.check_node())
    except yaml.YAMLError:
        return True


def _syntax_fault(error: yaml.YAMLError, text: str | bytes, file: str) -> Fault:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        return Fault((), f"not YAML: {reason}", place=place)
    if isinstance(error, ReaderError):
        before = text[: error.position]
        newline: Any = "\n" if isinstance(before, str) else b"\n"
        column = error.position - (before.rfind(newline) + 1)
        return Fault((), f"not YAML: {error.reason}", place=Place(file, before.count(newline) + 1, column + 1))
    return Fault((), f"not YAML: {error}", place=Place(file))


class Plainer:
    """Turns nodes into plain values. Repeated keys and keys that are not text become `faults`."""

    def __init__(self, file: str) -> None:
        self.faults: list[Fault] = []
        self._file = file
        self._nodes = 0

    def value(self, node: Node, path: Path = (), depth: int = 0) -> Any:
        """The plain value of a node. `path` is of raw keys, for the faults."""
        if isinstance(node, ScalarNode):
            return self.scalar(node)
        self._nodes += len(node.value)
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise InvalidConfig([self._fault(node, path, "is nested too deeply, or an alias contains itself")])
        if isinstance(node, SequenceNode):
            depth += 1
            return [
                self.scalar(item) if type(item) is ScalarNode else self.value(item, (*path, index), depth)
                for index, item in enumerate(node.value)
            ]
        assert isinstance(node, MappingNode)
        return self._mapping(node, path, depth + 1)

    def _mapping(self, node: MappingNode, path: Path, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, item in node.value:
            key = key_node.value
            if type(key) is not str:
                self.faults.append(self._fault(key_node, path, "a key is a list or a mapping", "a text as key"))
                continue
            if key in made:
                first = next(k for k, _ in node.value if k.value == key).start_mark.line + 1
                reason = f"is given twice (first in line {first})"
                self.faults.append(self._fault(key_node, (*path, key), reason, "each key once"))
                continue
            made[key] = self.scalar(item) if type(item) is ScalarNode else self.value(item, (*path, key), depth)
        return made

    def scalar(self, node: ScalarNode) -> Any:
        """A scalar by Envoy's rules."""
        text = node.value
        if node.style:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text[0] in _INTEGER_STARTS and _INTEGER.fullmatch(text):
            return _integer(text)
        return text

    def _fault(self, node: Node, path: Path, reason: str, expected: str = "") -> Fault:
        mark = node.start_mark
        return Fault(path, reason, expected, place=Place(self._file, mark.line + 1, mark.column + 1))


def _integer(text: str) -> int | str:
    digits = text.lstrip("+-").lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    number = int(digits, base)
    number = -number if text[0] == "-" else number
    if -(1 << 31) <= number < 1 << 31:
        return number
    if -(1 << 63) <= number < 1 << 63:
        return str(number)
    return text
