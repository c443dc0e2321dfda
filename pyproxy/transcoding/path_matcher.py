"""Finds what a method and a path are bound to: literal segments go before `*`, and these before `**`."""

from __future__ import annotations

import re
from enum import Enum
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from pyproxy.transcoding.path_template import ONE, REST, PathTemplate, Variable

T = TypeVar("T")
Binding = tuple[tuple[str, ...], str]
"""(field path, text)"""


class Unescape(Enum):
    """What is unescaped in values of more than one segment (Envoy: UrlUnescapeSpec)."""

    NOT_RESERVED = 0
    NOT_SLASH = 1
    ALL = 2


_RESERVED = re.compile(rb"%(?:2[1346789ABCFabcf]|3[ABDFabdf]|40|5[BDbd])")
"""RFC 6570 2.2: ! # $ & ' ( ) * + , / : ; = ? @ [ ]"""
_SLASH = re.compile(rb"%2[Ff]")
_KEPT = {Unescape.NOT_RESERVED: _RESERVED, Unescape.NOT_SLASH: _SLASH}


class _Node(Generic[T]):
    __slots__ = ("children", "ends")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.ends: dict[tuple[str, str], tuple[T, tuple[Variable, ...]]] = {}
        """(HTTP method, verb) -> what is there"""


class PathMatcher(Generic[T]):
    """`add` everything, then `find`."""

    def __init__(self, unescape: Unescape = Unescape.NOT_RESERVED, *, any_verb: bool = False) -> None:
        """`any_verb`: what stands behind a last colon is a verb even if no template has it."""
        self._root: _Node[T] = _Node()
        self._verbs: set[str] = set()
        self._kept = _KEPT.get(unescape)
        self._any_verb = any_verb

    def add(self, method: str, template: PathTemplate, target: T) -> bool:
        """Whether it is new. The first one of several with the same pattern counts."""
        node = self._root
        for segment in template.segments:
            node = node.children.setdefault(segment, _Node())
        if template.verb:
            self._verbs.add(template.verb)
        return node.ends.setdefault((method, template.verb), (target, template.variables))[0] is target

    def find(self, method: str, path: bytes) -> tuple[T, list[Binding]] | None:
        """`path` has no query."""
        text = path.decode("latin-1")
        text, verb = self._split_verb(text)
        segments = text[1:].split("/") if text.startswith("/") else [text]
        if segments[-1] == "" and len(segments) > 1:
            segments.pop()  # a slash at the end says nothing
        found = _walk(self._root, segments, 0, (method, verb))
        if found is None:
            return None
        target, variables = found
        return target, [self._bind(variable, segments) for variable in variables]

    def _split_verb(self, text: str) -> tuple[str, str]:
        at = text.rfind(":")
        if at > text.rfind("/") and at >= 0:
            verb = text[at + 1 :]
            if verb in self._verbs or (self._any_verb and verb):
                return text[:at], verb
        return text, ""

    def _bind(self, variable: Variable, segments: list[str]) -> Binding:
        end = variable.end if variable.end > 0 else len(segments) + variable.end
        kept = self._kept if variable.several else None
        values = [_unescape(segment, kept) for segment in segments[variable.start : end]]
        return variable.field, "/".join(values)


def _walk(node: _Node[T], segments: list[str], at: int, key: tuple[str, str]) -> tuple[T, tuple[Variable, ...]] | None:
    if at == len(segments):
        found = node.ends.get(key)
        if found is None and REST in node.children:  # ** may be nothing
            return node.children[REST].ends.get(key)
        return found
    for name in (segments[at], ONE):
        child = node.children.get(name) if name != REST else None
        if child is not None:
            found = _walk(child, segments, at + 1, key)
            if found is not None:
                return found
    rest = node.children.get(REST)
    if rest is None:
        return None
    for end in range(at, len(segments) + 1):  # what stands behind it goes first
        found = _walk(rest, segments, end, key)
        if found is not None:
            return found
    return None


def _unescape(segment: str, kept: re.Pattern[bytes] | None) -> str:
    data = segment.encode("latin-1")
    if kept is not None:
        pieces, begin = [], 0
        for one in kept.finditer(data):
            pieces += [unquote_to_bytes(data[begin : one.start()]), one[0]]
            begin = one.end()
        data = b"".join([*pieces, unquote_to_bytes(data[begin:])])
    else:
        data = unquote_to_bytes(data)
    return data.decode("utf-8", "replace")
