"""Path templates of google.api.http: `/v1/{name=shelves/*}/books/{book}:verb` (google/api/http.proto)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyproxy.transcoding.error import BadDescriptors

ONE = "*"
REST = "**"
_IDENT = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = re.compile(rf"\{{({_IDENT}(?:\.{_IDENT})*)(?:=([^{{}}]*))?\}}")
_LITERAL = re.compile(r"[^/{}:*]+")


@dataclass(frozen=True, slots=True)
class Variable:
    """The segments [start, end) of a path are the value of a field.

    `end` counts from the end where it is negative or 0: behind a `**` nobody knows how many segments there are.
    """

    field: tuple[str, ...]
    start: int
    end: int
    several: bool
    """It may have more than one segment, in which reserved characters may stay as they are."""


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """Segments are literals, `*` or `**`; the verb is empty where there is none."""

    segments: tuple[str, ...]
    verb: str
    variables: tuple[Variable, ...]


def parse_template(text: str) -> PathTemplate:
    """Raises BadDescriptors."""
    if not text.startswith("/"):
        raise BadDescriptors(f"the path template {text!r} does not begin with a slash")
    body, verb = _split_verb(text[1:])
    segments: list[str] = []
    found: list[tuple[str, int, int]] = []
    for part in _parts(body, text):
        variable = _VARIABLE.fullmatch(part)
        if variable is None:
            segments.append(_segment(part, text))
            continue
        inner = (variable[2] or ONE).split("/") if variable[2] != "" else []
        if not inner:
            raise BadDescriptors(f"the path template {text!r} has a variable without a pattern")
        start = len(segments)
        segments += [_segment(one, text) for one in inner]
        found.append((variable[1], start, len(segments)))
    if segments.count(REST) > 1:
        raise BadDescriptors(f"the path template {text!r} has more than one **")
    rest = segments.index(REST) if REST in segments else len(segments)
    variables = tuple(
        Variable(
            tuple(name.split(".")),
            start,
            end if end <= rest else end - len(segments),
            end - start > 1 or REST in segments[start:end],
        )
        for name, start, end in found
    )
    names = [variable.field for variable in variables]
    if len(set(names)) != len(names):
        raise BadDescriptors(f"the path template {text!r} sets a field twice")
    return PathTemplate(tuple(segments), verb, variables)


def _split_verb(body: str) -> tuple[str, str]:
    """A verb stands behind the last colon, after the last slash and brace."""
    at = body.rfind(":")
    if at > max(body.rfind("/"), body.rfind("}") - 1) and at >= 0:
        return body[:at], body[at + 1 :]
    return body, ""


def _parts(body: str, text: str) -> list[str]:
    """Split at slashes that are in no braces."""
    parts, depth, begin = [], 0, 0
    for at, char in enumerate(body):
        depth += (char == "{") - (char == "}")
        if depth not in (0, 1):
            raise BadDescriptors(f"the path template {text!r} has braces that do not fit")
        if char == "/" and not depth:
            parts.append(body[begin:at])
            begin = at + 1
    if depth:
        raise BadDescriptors(f"the path template {text!r} has a brace that does not end")
    return [*parts, body[begin:]]


def _segment(part: str, text: str) -> str:
    if part in (ONE, REST) or _LITERAL.fullmatch(part):
        return part
    raise BadDescriptors(f"the path template {text!r} has the segment {part!r}")
