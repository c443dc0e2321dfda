"""Dates and durations in formats: START_TIME and its kin, DURATION and its kin, COMMON_DURATION.

Date formats are strftime's, with Envoy's fractions (`%3f`) and the extensions of absl::FormatTime (`%E3S`, `%Ez`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from pyproxy import clock
from pyproxy.config.format import Operator
from pyproxy.telemetry.formatter_expression import Expression, Kind, Scope, Unset, nothing, number
from pyproxy.telemetry.formatter_memo import Memo

_UTC_DEFAULT: Final = "%Y-%m-%dT%H:%M:%E3SZ"
_LOCAL_DEFAULT: Final = "%Y-%m-%dT%H:%M:%E3S%z"

# %%, %s, fractions, and what differs between absl and strftime.
_SPECIAL = re.compile(
    r"%(?:E(?P<seconds>[0-9]+|\*)S|E(?P<subseconds>[0-9]+|\*)f|(?P<fraction>[1-9]?)f|(?P<epoch>s)"
    r"|(?P<colon>Ez|:z)|(?P<colons>E\*z|::z)|(?P<year>E4Y|EY)|.)",
    re.DOTALL,
)
_MICROSECOND_DIGITS: Final = 6
_MILLISECONDS: Final = tuple([f"{value:03d}" for value in range(1000)])

DateText = Callable[[float], str]


def build_date(pattern: str, *, local: bool = False) -> DateText:
    """A function from wall-clock seconds to text. All but the fractions is made once a second."""
    pieces, slots = _split(pattern, local)
    broken_down = time.localtime if local else time.gmtime
    second = -1
    literals: list[str] = []
    before = after = ""
    milliseconds = slots == [3]

    def date(wall: float) -> str:
        nonlocal second, literals, before, after
        now = int(wall)
        if now != second:
            moment = broken_down(now)
            literals = [_strftime(piece, moment) for piece in pieces]
            before, after = literals[0], literals[-1]
            second = now
        if milliseconds:
            return f"{before}{_MILLISECONDS[int((wall - now) * 1000)]}{after}"
        if not slots:
            return before
        digits = f"{min(999_999, round((wall - now) * 1_000_000)):06d}000"
        parts = [before]
        for slot, literal in zip(slots, literals[1:], strict=True):
            parts += (digits[:slot] if slot else str(now), literal)
        return "".join(parts)

    return date


def _split(pattern: str, local: bool) -> tuple[list[str], list[int]]:
    """strftime formats, and what stands between each two: so many digits of a fraction, or for 0 the epoch second.

    (strftime would take the epoch second for local time.)
    """
    pieces, slots, last = [""], [], 0
    for match in _SPECIAL.finditer(pattern):
        pieces[-1] += pattern[last : match.start()]
        last = match.end()
        slot = _slot(match)
        if slot is None:
            pieces[-1] += _as_strftime(match, local)
            continue
        if match[0].endswith("S"):
            pieces[-1] += "%S."
        slots.append(slot)
        pieces.append("")
    pieces[-1] += pattern[last:]
    return pieces, slots


def _slot(match: re.Match[str]) -> int | None:
    if match["epoch"]:
        return 0
    if match["fraction"] is not None:
        return int(match["fraction"] or 9)
    asked = match["seconds"] or match["subseconds"]
    if asked is None:
        return None
    return min(9, _MICROSECOND_DIGITS if asked == "*" else int(asked)) or None


def _as_strftime(match: re.Match[str], local: bool) -> str:
    if match["seconds"]:
        return "%S"  # with no digits
    if match["year"]:
        return "%Y"
    if local:
        return "%:z" if match["colon"] or match["colons"] else match[0]
    if match["colon"] or match["colons"]:
        return "+00:00" if match["colon"] else "+00:00:00"
    return "UTC" if match[0] == "%Z" else match[0]


def _strftime(piece: str, moment: time.struct_time) -> str:
    if "%:z" in piece:
        zone = time.strftime("%z", moment)
        piece = piece.replace("%:z", f"{zone[:3]}:{zone[3:]}")
    return time.strftime(piece, moment) if piece else ""


def start_time(operator: Operator, scope: Scope) -> Expression:
    return _date(scope, operator.argument or _UTC_DEFAULT, "info.start_wall")


def start_time_local(operator: Operator, scope: Scope) -> Expression:
    return _date(scope, operator.argument or _LOCAL_DEFAULT, "info.start_wall", local=True)


def emit_time(operator: Operator, scope: Scope) -> Expression:
    return _date(scope, operator.argument or _UTC_DEFAULT, f"{scope.bind(clock.wall)}()")


def emit_time_local(operator: Operator, scope: Scope) -> Expression:
    return _date(scope, operator.argument or _LOCAL_DEFAULT, f"{scope.bind(clock.wall)}()", local=True)


_PLAIN = re.compile(r"(?:[-0-9 /:.,+TZ]|%[YmdHMSz]|%E[0-9*]S|%[1-9]f)+")
"""Patterns of dates that JSON takes between quotes as they are."""


def _date(scope: Scope, pattern: str, moment: str, *, local: bool = False) -> Expression:
    date = scope.bind(build_date(pattern, local=local))
    json = _quoted(scope, pattern, moment, local) if _PLAIN.fullmatch(pattern) else ""
    return Expression(Kind.TEXT, f"{date}({moment})", json=json)


def _quoted(scope: Scope, pattern: str, moment: str, local: bool) -> str:
    """What `build_date` does with milliseconds, as code, because every line has its date."""
    (before, *rest), slots = _split(f'"{pattern}"', local)
    if slots != [3] or "%" in rest[0]:
        return ""
    broken_down = time.localtime if local else time.gmtime
    seconds = scope.bind(Memo(lambda second: _strftime(before, broken_down(second))))
    fractions = scope.bind([f"{digits}{rest[0]}" for digits in _MILLISECONDS])
    return f"{seconds}[n := int(w := {moment})] + {fractions}[int((w - n) * 1000)]"


_POINTS: Final[dict[str, str]] = {
    "DS_RX_BEG": "info.start",
    "DS_RX_END": "info.request_end",
    "US_CX_BEG": "upstream.connect_start",
    "US_CX_END": "upstream.connect_end",
    "US_TX_BEG": "upstream.request_sent_first",
    "US_TX_END": "upstream.request_sent_last",
    "US_RX_BEG": "upstream.response_first",
    "US_RX_BODY_BEG": "upstream.response_body_first",
    "US_RX_END": "upstream.response_last",
    "DS_TX_BEG": "info.response_start",
    "DS_TX_END": "(0.0 if info.cut else info.end)",
}
_UNITS: Final = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def between(begin: str, end: str, unit: str = "ms") -> Expression:
    """The time between two points; no value where one of them was not passed, or the second before the first."""
    first, last = _POINTS.get(begin), _POINTS.get(end)
    if first is None or last is None:
        return nothing()
    code = f"int(({last} - {first}) * {_UNITS[unit]}) if 0.0 < {first} <= {last} else None"
    return Expression(Kind.NUMBER, code, Unset.NONE)


def common_duration(operator: Operator, scope: Scope) -> Expression:
    begin, _, rest = (operator.argument or "").partition(":")
    end, _, unit = rest.partition(":")
    return between(begin, end, unit or "ms")


def duration(operator: Operator, scope: Scope) -> Expression:
    """Until the end of the response; until now where it has not ended."""
    return number(f"int(((info.end or {scope.bind(clock.monotonic)}()) - info.start) * 1000)")


def pool_ready(operator: Operator, scope: Scope) -> Expression:
    ready, start = "upstream.pool_ready", "info.start"
    return Expression(Kind.NUMBER, f"int(({ready} - {start}) * 1000) if {ready} >= {start} else None", Unset.NONE)
