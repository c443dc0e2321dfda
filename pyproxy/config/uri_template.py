"""Checks URI templates such as `/users/{id}/files/{path=**}` (Envoy: uri_template path matcher and rewriter).

`*` is one segment or a part of one, `**` is anything, `{name}` a named `*`, `{name=pattern}` a named pattern. What is
taken and refused was compared with Envoy 1.40. `routes.uri_template` builds what matches.
"""

from __future__ import annotations

import re
from typing import Final

MAX_VARIABLES: Final = 5
MAX_NAME: Final = 16

# What Envoy lets a segment hold beside `*` and variables: RFC 3986's pchar, with `%` unchecked.
_LITERAL: Final = "[a-zA-Z0-9\\-._~%!$&'()+,;:@=]"
_VARIABLE: Final = r"\{(?P<name>[^{}=]*)(?:=(?P<inner>[^{}]*))?\}"
# Envoy also takes `*` within other text, and then reads it as a regex does: nobody can mean that, so it is refused.
_SEGMENT = re.compile(rf"(?:(?P<glob>\*\*?)|(?P<before>{_LITERAL}*)(?:{_VARIABLE})?)(?P<behind>{_LITERAL}*)")
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_REWRITE = re.compile(rf"(?P<text>(?:/|{_LITERAL}|\*)+)|\{{(?P<name>[a-zA-Z][a-zA-Z0-9_]*)\}}")


class BadTemplate(Exception):
    """A template that Envoy would not take, or would not take as it is meant."""


def check_template(text: str) -> tuple[str, ...]:
    """The names of the variables of a template to match with. Raises BadTemplate."""
    if not text.startswith("/"):
        raise BadTemplate("it must begin with a slash")
    checker = _Checker()
    *segments, last = _split(text[1:])
    for segment in segments:
        checker.segment(segment)
    if last:
        checker.segment(last)
    return tuple(checker.variables)


def check_rewrite(text: str) -> tuple[str, ...]:
    """The names of the variables that a rewrite uses. Raises BadTemplate."""
    if not text.startswith("/") or "//" in text:
        raise BadTemplate("it must begin with a slash and hold no empty segment")
    names: list[str] = []
    at = 0
    while at < len(text):
        found = _REWRITE.match(text, at)
        if found is None:
            raise BadTemplate(f"{text[at:]!r} is neither plain text nor {{variable}}")
        if found["name"]:
            names.append(found["name"])
        at = found.end()
    return tuple(names)


class _Checker:
    """What was seen of a template so far."""

    def __init__(self) -> None:
        self.variables: list[str] = []
        self.deep = False  # a `**` stood before

    def segment(self, segment: str) -> None:
        """Plain text, a glob with text behind it, or a variable with text on both sides."""
        found = _SEGMENT.fullmatch(segment)
        if not segment:
            raise BadTemplate("it holds an empty segment")
        if found is None:
            raise BadTemplate(f"{segment!r} is neither plain text, a glob (* or **) nor a variable with text around it")
        if found["glob"]:
            self._glob(found["glob"])
        if found["name"] is None:
            return
        if found["before"] and "/" in (found["inner"] or ""):
            raise BadTemplate(f"the variable in {segment!r} spans segments, so no text may stand before it")
        self._variable(found["name"], found["inner"])

    def _glob(self, glob: str) -> None:
        if self.deep:
            raise BadTemplate("a glob stands after **")
        self.deep = glob == "**"

    def _variable(self, name: str, inner: str | None) -> None:
        if not 1 <= len(name) <= MAX_NAME or _NAME.fullmatch(name) is None:
            raise BadTemplate(f"{name!r} is not the name of a variable (a letter, then at most 15 letters, digits, _)")
        if name in self.variables:
            raise BadTemplate(f"the variable {name!r} stands twice")
        if len(self.variables) == MAX_VARIABLES:
            raise BadTemplate(f"it holds more than {MAX_VARIABLES} variables")
        self.variables.append(name)
        if inner == "":
            raise BadTemplate(f"the pattern of the variable {name!r} is empty")
        for segment in (inner or "*").split("/"):
            if segment in ("*", "**"):
                self._glob(segment)
            elif re.fullmatch(f"{_LITERAL}+", segment) is None:
                raise BadTemplate(f"{segment!r} is not *, ** or plain text in the pattern of a variable")


def _split(text: str) -> list[str]:
    """At slashes that are not inside braces."""
    segments = [""]
    depth = 0
    for sign in text:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if sign == "/" and depth <= 0:
            segments.append("")
        else:
            segments[-1] += sign
    return segments
