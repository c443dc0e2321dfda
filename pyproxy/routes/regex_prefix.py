"""The literal text that everything which a regular expression matches must begin with."""

from __future__ import annotations

from typing import Final

_SPECIAL: Final = frozenset(".^$*+?{}[]|()\\")
_OPTIONAL: Final = frozenset("*?{")


def literal_prefix(pattern: str) -> bytes:
    """As much of it as is plain to see; empty where in doubt."""
    at = 1 if pattern.startswith("^") else 0
    found: list[str] = []
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and at + 1 < len(pattern) and not pattern[at + 1].isalnum():
            at += 1
            character = pattern[at]
        elif character in _SPECIAL:
            break
        found.append(character)
        at += 1
    if at < len(pattern) and pattern[at] in _OPTIONAL and found:
        found.pop()  # the last one need not be there
    prefix = "".join(found)
    # A choice at the outermost level begins another way; telling which level costs more than it gives.
    return prefix.encode() if prefix.isascii() and "|" not in _without_groups(pattern) else b""


def _without_groups(pattern: str) -> str:
    """The pattern without what stands in parentheses and brackets. Where that cannot be told, the whole of it."""
    depth, at = 0, 0
    outside: list[str] = []
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            if pattern[at + 1 : at + 2] in ("Q", ""):
                return pattern
            at += 2
            continue
        if character == "[":
            return pattern if "|" in pattern[at:] else "".join(outside)
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif depth == 0:
            outside.append(character)
        at += 1
    return "".join(outside) if depth == 0 else pattern
