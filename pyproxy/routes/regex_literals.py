"""Literal text that everything which a regular expression matches must hold: asked first, because it costs little.

Only what stands outside groups, classes and choices is seen, and nothing where there is doubt.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<literal>    [^\\.^$*+?{}\[\]|()] | \\[^0-9A-Za-z] )
  | (?P<class>      \\[dDwWsSbB] | \[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\] | [.^$] )
  | (?P<many>       [*?] | \{[0-9]+(?:,[0-9]*)?\} )
  | (?P<some>       \+ )
  | (?P<open>       \((?:\?(?::|P?<\w+>)|(?!\?)) )
  | (?P<close>      \) )
  | (?P<choice>     \| )
    """,
    re.VERBOSE | re.DOTALL,
)


class Literals(NamedTuple):
    prefix: bytes
    """What every match begins with."""
    inside: bytes
    """What every match has somewhere behind that."""


_NONE: Final = Literals(b"", b"")


def literals_of(pattern: str) -> Literals:
    """What can be said of the texts that a valid pattern matches as a whole."""
    if not pattern.isascii():
        return _NONE
    runs: list[str] = []
    run = ""
    depth = 0
    at_start = True
    prefix = ""
    at = 1 if pattern.startswith("^") else 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None or (token.lastgroup == "choice" and depth == 0):
            return _NONE
        at = token.end()
        kind = token.lastgroup
        depth += (kind == "open") - (kind == "close")
        if kind == "literal" and depth == 0:
            run += token[0][-1]
            continue
        if kind == "many":
            run = run[:-1]  # the last character need not be there
        if at_start:
            prefix, at_start = run, False
        else:
            runs.append(run)
        run = ""
    if at_start:
        return Literals(run.encode(), b"")
    return Literals(prefix.encode(), max([*runs, run], key=len).encode())
