"""JSON text -> plain Python values, and, where a place is asked for, a tree of nodes that know their lines.

The standard library's parser is fast but knows no places, and Envoy's (protobuf's) takes more than JSON: commas before
a closing bracket, single quotes, keys without quotes, line breaks in strings. So the fast parser goes first; the
scanner here reads what it refuses, and is the one that gives places. Its nodes are PyYAML's, so that both kinds of text
have one kind of tree.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Any, NoReturn

from yaml import Mark
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pyproxy.config.invalid import Fault, InvalidConfig, Place
from pyproxy.config.yaml_tree import MAX_DEPTH, Plainer

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_BARE_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_LITERAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![\w.])|(?:true|false|null)(?!\w)")
_TO_DOUBLE = re.compile(r'\\.|"')
_TEXT, _VALUE = "text", "value"


class _Refused(ValueError):
    """The fast parser met something that the scanner has to look at."""


def load(text: str, file: str) -> tuple[Any, list[Fault]]:
    """The plain value, and faults such as keys that are there twice. Raises InvalidConfig where it is not JSON."""
    try:
        return _shallow(json.loads(text, object_pairs_hook=_object, parse_constant=_constant)), []
    except (ValueError, RecursionError):
        plainer = _JsonPlainer(file)
        return plainer.value(compose(text, file)), plainer.faults


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Refused
    return made


def _shallow(value: Any) -> Any:
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 2):
        inner = (one.values() if type(one) is dict else one for one in level)
        level = [one for some in inner for one in some if type(one) is dict or type(one) is list]
        if not level:
            return value
    raise _Refused


def _constant(name: str) -> NoReturn:
    raise _Refused(name)


def compose(text: str, file: str) -> Node:
    """The tree of nodes. Raises InvalidConfig where the text is not JSON, in protobuf's wide sense."""
    scanner = _Scanner(text, file)
    root = scanner.value(0)
    scanner.end()
    return root


def _requoted(match: re.Match[str]) -> str:
    """A piece of a single-quoted string as it is written in double quotes."""
    return {"\\'": "'", '"': '\\"'}.get(match.group(), match.group())


class _JsonPlainer(Plainer):
    """JSON says itself what a scalar is."""

    def scalar(self, node: ScalarNode) -> Any:
        return node.value if node.tag == _TEXT else json.loads(node.value)


class _Scanner:
    """A recursive-descent reader of one text."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._at = 0
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def value(self, depth: int) -> Node:
        self._space()
        if depth > MAX_DEPTH:
            self._fail(f"the document is nested more than {MAX_DEPTH} deep", "")
        start = self._text[self._at : self._at + 1]
        if start == "{":
            return self._object(depth + 1)
        if start == "[":
            return self._array(depth + 1)
        mark = self._mark()
        if start in ('"', "'"):
            return ScalarNode(_TEXT, self._string(), mark, mark)
        match = _LITERAL.match(self._text, self._at)
        if match is None:
            self._fail("there is no value here", "a JSON value")
        self._at = match.end()
        return ScalarNode(_VALUE, match.group(), mark, mark)

    def end(self) -> None:
        self._space()
        if self._at < len(self._text):
            self._fail("there is text after the end of the document", "the end of the file")

    def _object(self, depth: int) -> Node:
        mark = self._mark()
        self._at += 1
        pairs: list[tuple[Node, Node]] = []
        while not self._closes("}"):
            key_mark = self._mark()
            key = ScalarNode(_TEXT, self._key(), key_mark, key_mark)
            self._space()
            if not self._text.startswith(":", self._at):
                self._fail(f"no ':' after the key {key.value!r}", "':'")
            self._at += 1
            pairs.append((key, self.value(depth)))
            self._comma("}")
        return MappingNode("object", pairs, mark, mark)

    def _array(self, depth: int) -> Node:
        mark = self._mark()
        self._at += 1
        items: list[Node] = []
        while not self._closes("]"):
            items.append(self.value(depth))
            self._comma("]")
        return SequenceNode("array", items, mark, mark)

    def _key(self) -> str:
        if self._text[self._at : self._at + 1] in ('"', "'"):
            return self._string()
        match = _BARE_KEY.match(self._text, self._at)
        if match is None:
            self._fail("there is no key here", "a key in double quotes, or '}'")
        self._at = match.end()
        return match.group()

    def _string(self) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            self._fail("a string without an end", "a closing quote")
        raw = match.group()
        if raw[0] == "'":
            raw = '"' + _TO_DOUBLE.sub(_requoted, raw[1:-1]) + '"'
        try:
            decoded: str = json.loads(raw, strict=False)
        except ValueError as error:
            self._fail(f"a string that cannot be read: {error}", "a JSON string")
        self._at = match.end()
        return decoded

    def _closes(self, bracket: str) -> bool:
        self._space()
        if self._text.startswith(bracket, self._at):
            self._at += 1
            return True
        return False

    def _comma(self, bracket: str) -> None:
        self._space()
        if self._text.startswith(",", self._at):
            self._at += 1
        elif not self._text.startswith(bracket, self._at):
            self._fail("a comma or a closing bracket is missing", f"',' or '{bracket}'")

    def _space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _mark(self) -> Mark:
        line = bisect_right(self._lines, self._at) - 1
        return Mark(self._file, self._at, line, self._at - self._lines[line], None, 0)

    def _fail(self, reason: str, expected: str) -> NoReturn:
        mark = self._mark()
        place = Place(self._file, mark.line + 1, mark.column + 1)
        raise InvalidConfig([Fault((), f"not JSON: {reason}", expected, place=place)])
