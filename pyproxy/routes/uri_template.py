"""URI templates: `/users/{id}/*/**` as a matcher, and what was matched as a new path.

`*` is one path segment, `**` any number of them, `{name}` a segment to remember, `{name=pattern}` what the pattern
says. Envoy: envoy.path.match.uri_template, envoy.path.rewrite.uri_template; segments are of RFC 3986's pchar.
"""

from __future__ import annotations

import re
from typing import Final

_SEGMENT: Final = rb"[a-zA-Z0-9\-._~%!$&'()*+,;:@=]+"
_SEGMENTS: Final = rb"[a-zA-Z0-9\-._~%!$&'()*+,;:@=/]*"

_TOKEN = re.compile(r"\*\*|\*|\{([A-Za-z][A-Za-z0-9_]*)(?:=([^}]*))?\}|[^*{]+")
_VARIABLE = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")


class UriTemplate:
    """A template that was found valid when the configuration was compiled."""

    __slots__ = ("_match",)

    def __init__(self, template: str) -> None:
        self._match = re.compile(_pattern(template)).fullmatch

    def matches(self, path: bytes) -> bool:
        return self._match(path) is not None

    def variables(self, path: bytes) -> dict[str, bytes] | None:
        """What the variables stand for in a path; None if it does not fit."""
        found = self._match(path)
        return None if found is None else found.groupdict()


class UriTemplateRewrite:
    """Puts the variables of one template into another."""

    __slots__ = ("_parts", "_template")

    def __init__(self, template: str, rewrite: str) -> None:
        self._template = UriTemplate(template)
        # Literals at even places, names of variables at odd ones.
        self._parts = _VARIABLE.split(rewrite)

    def __call__(self, path: bytes) -> bytes:
        """The new path; empty if the path does not fit."""
        variables = self._template.variables(path)
        if variables is None:
            return b""
        return b"".join(
            variables.get(part, b"") if number % 2 else part.encode() for number, part in enumerate(self._parts)
        )


def literal_prefix(template: str) -> bytes:
    """What every path that fits begins with."""
    return re.split(r"[*{]", template, maxsplit=1)[0].encode()


def _pattern(template: str) -> bytes:
    pieces = []
    for token in _TOKEN.finditer(template):
        name, inner = token[1], token[2]
        if token[0] == "**":
            pieces.append(_SEGMENTS)
        elif token[0] == "*":
            pieces.append(_SEGMENT)
        elif name is not None:
            pieces.append(b"(?P<%s>%s)" % (name.encode(), _pattern(inner or "*")))
        else:
            pieces.append(re.escape(token[0].encode()))
    return b"".join(pieces)
