"""URI templates such as `/users/{id}/files/{path=**}` (Envoy: uri_template path matcher and rewriter).

`*` is one or more characters without a slash, `**` is anything, `{name}` is a named `*`, `{name=pattern}` a named
pattern. Checked against Envoy 1.40.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    """A template that Envoy would not take."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template to match with: a regex of RE2 whose groups are the variables, in order."""

    regex: str
    variables: tuple[str, ...]


def parse_template(text: str) -> Template:
    """Raises BadTemplate."""
    return _TemplateParser(text).parse()


def parse_template_rewrite(text: str) -> tuple[str | tuple[str], ...]:
    """The parts of a rewrite: literal text, and `(name,)` for a variable. Raises BadTemplate."""
    if not text.startswith("/") or "//" in text:
        raise BadTemplate("it must begin with a slash and hold no empty segment")
    parts: list[str | tuple[str]] = []
    at = 0
    while at < len(text):
        found = _REWRITE.match(text, at)
        if found is None:
            raise BadTemplate(f"{text[at:]!r} is neither plain text nor {{variable}}")
        parts.append((found["name"],) if found["name"] else found["text"])
        at = found.end()
    return tuple(parts)


class _TemplateParser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.variables: list[str] = []
        self.deep = False  # a `**` stood before

    def parse(self) -> Template:
        if not self.text.startswith("/"):
            raise BadTemplate("it must begin with a slash")
        segments = _split(self.text[1:])
        regex = "".join("/" + self._segment(segment) for segment in segments[:-1])
        regex += "/" + (self._segment(segments[-1]) if segments[-1] else "")
        return Template(regex, tuple(self.variables))

    def _segment(self, segment: str) -> str:
        """Plain text, a glob with text behind it, or a variable with text on both sides."""
        if not segment:
            raise BadTemplate("it holds an empty segment")
        found = _SEGMENT.fullmatch(segment)
        if found is None:
            raise BadTemplate(f"{segment!r} is neither plain text, a glob (* or **) nor a variable with text around it")
        before, behind = re.escape(found["before"] or ""), re.escape(found["behind"] or "")
        if found["glob"]:
            return self._glob(found["glob"]) + behind
        if found["name"] is None:
            return before
        if before and "/" in (found["inner"] or ""):
            raise BadTemplate(f"the variable in {segment!r} spans segments, so no text may stand before it")
        return before + self._variable(found["name"], found["inner"]) + behind

    def _glob(self, glob: str) -> str:
        if self.deep:
            raise BadTemplate("a glob stands after **")
        self.deep = glob == "**"
        return ".*" if self.deep else "[^/]+"

    def _variable(self, name: str, inner: str | None) -> str:
        if not 1 <= len(name) <= MAX_NAME or _NAME.fullmatch(name) is None:
            raise BadTemplate(f"{name!r} is not the name of a variable (a letter, then at most 15 letters, digits, _)")
        if name in self.variables:
            raise BadTemplate(f"the variable {name!r} stands twice")
        if len(self.variables) == MAX_VARIABLES:
            raise BadTemplate(f"it holds more than {MAX_VARIABLES} variables")
        self.variables.append(name)
        if inner is None:
            return f"({self._glob('*')})"
        if not inner:
            raise BadTemplate(f"the pattern of the variable {name!r} is empty")
        return f"({'/'.join(self._inner(segment) for segment in inner.split('/'))})"

    def _inner(self, segment: str) -> str:
        if segment in ("*", "**"):
            return self._glob(segment)
        if re.fullmatch(f"{_LITERAL}+", segment) is None:
            raise BadTemplate(f"{segment!r} is not *, ** or plain text in the pattern of a variable")
        return re.escape(segment)


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
