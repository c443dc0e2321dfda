"""From expressions to one Python function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.http.message import Headers, Request, Response
from pyproxy.telemetry.formatter_expression import LOCALS, Expression, Kind, Scope, Unset

Formatter = Callable[[Request, Response | None], str]

NO_HEADERS: Final = Headers()
_WORD = re.compile(r"[a-z_]+")


@dataclass(frozen=True, slots=True)
class Style:
    """How values are written. Each is code: `unset` a name, the others templates with `{}` for the value."""

    unset: str
    text: str
    value: str


FAST_DECODE: Final = "{}.decode()"
CAREFUL_DECODE: Final = "decode({})"


def code_of(expression: Expression, style: Style, decode: str) -> str:
    """The code that writes an expression."""

    def written(value: str) -> str:
        cut = "" if expression.length is None else f"[:{expression.length}]"
        match expression.kind:
            case Kind.NUMBER:
                return value
            case Kind.BYTES:
                return style.text.format(decode.format(value + cut))
            case Kind.TEXT:
                return style.text.format(value + cut)
            case Kind.VALUE:
                return style.value.format(value) + cut

    code = expression.code
    match expression.unset:
        case Unset.NEVER:
            return written(f"({code})")
        case Unset.EMPTY if written("v") == "v":
            return f"(({code}) or {style.unset})"
        case Unset.EMPTY:
            return f"({written('v')} if (v := {code}) else {style.unset})"
        case Unset.NONE:
            return f"({style.unset} if (v := {code}) is None else {written('v')})"


def joined(codes: Iterable[str], quote: str = '"') -> str:
    """Code that puts texts together."""
    return f"f{quote}{''.join([f'{{{code}}}' for code in codes])}{quote}"


def build_function(scope: Scope, write: Callable[[str], str], decode: Callable[[bytes], str]) -> Formatter:
    """A function that returns what `write` wrote. `write` is given how bytes are decoded.

    Nearly all bytes are ASCII: the function assumes UTF-8, and starts over with `decode` where that fails.
    """
    fast, careful = write(FAST_DECODE), write(CAREFUL_DECODE)
    names = {**scope.names, "decode": decode, "NO_HEADERS": NO_HEADERS}
    if fast == careful:
        return compiled(f"    return {fast}\n", names)
    names["careful"] = compiled(f"    return {careful}\n", names)
    guarded = (
        f"    try:\n        return {fast}\n    except UnicodeDecodeError:\n        return careful(request, response)"
    )
    return compiled(f"{guarded}\n", names)


def compiled(body: str, names: dict[str, Any]) -> Formatter:
    """A function with this body, and with the locals that it uses."""
    used = set(_WORD.findall(body))
    assignments = []
    for name, code in reversed(LOCALS.items()):
        if name in used:
            used.update(_WORD.findall(code))
            assignments.append(f"    {name} = {code}\n")
    source = f"def formatted(request, response):\n{''.join(reversed(assignments))}{body}"
    namespace = dict(names)
    exec(source, namespace)  # noqa: S102 (only code of this package; see formatter_expression)
    made: Formatter = namespace["formatted"]
    return made
