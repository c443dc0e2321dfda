"""Dates in formats, checked against what Envoy 1.40 (absl::FormatTime) wrote."""

from __future__ import annotations

import time

import pytest

from pyproxy import clock
from pyproxy.config.format import Operator, parse_format
from pyproxy.telemetry.formatter import build_formatter
from pyproxy.telemetry.formatter_time import build_date
from tests.telemetry.exchanges import forwarded

MOMENT = 1795228327.517588  # Sat 2026-11-21 02:32:07 UTC


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%Y-%m-%dT%H:%M:%E3SZ", "2026-11-21T02:32:07.517Z"),
        ("%s", "1795228327"),
        ("%s.%3f", "1795228327.517"),
        ("%s.%6f", "1795228327.517588"),
        ("%f %9f %1f %2f", "517588000 517588000 5 51"),
        ("%3f%3f", "517517"),
        ("%E*S %E0S %E6f %E*f", "07.517588 07 517588 517588"),
        ("%z %Z %Ez %E*z %:z %::z", "+0000 UTC +00:00 +00:00:00 +00:00 +00:00:00"),
        ("%a %A %b %B %c", "Sat Saturday Nov November Sat Nov 21 02:32:07 2026"),
        ("%C %d %D %e %F %G %g %h", "20 21 11/21/26 21 2026-11-21 2026 26 Nov"),
        ("%H %I %j %k %l %m %M %p %P %r %R", "02 02 325  2  2 11 32 AM am 02:32:07 AM 02:32"),
        ("%S %T %u %U %V %w %W %x %X %y", "07 02:32:07 6 46 47 6 46 11/21/26 02:32:07 26"),
        ("%E4Y %EY %Oy %%", "2026 2026 26 %"),
        ("%a, %d %b %Y %H:%M:%S GMT", "Sat, 21 Nov 2026 02:32:07 GMT"),
        ("[%F] ", "[2026-11-21] "),
        ("%q %N", "%q %N"),
    ],
)
def test_patterns(pattern: str, text: str) -> None:
    assert build_date(pattern)(MOMENT) == text


def test_fractions_move_within_a_second_and_the_rest_with_it() -> None:
    date = build_date("%T.%3f")
    texts = [date(MOMENT + offset) for offset in (0, 0.25, 0.5, 60, 0, -1, 0.482)]
    assert texts == [
        *("02:32:07.517", "02:32:07.767", "02:32:08.017", "02:33:07.517", "02:32:07.517", "02:32:06.517"),
        "02:32:07.999",
    ]


def test_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert build_date("%H:%M %z %Ez", local=True)(MOMENT) == "08:17 +0545 +05:45"
        assert build_date("%H:%M %s")(MOMENT) == "02:32 1795228327"
        text = "%START_TIME_LOCAL% %START_TIME%"
        assert build_formatter(parse_format(text))(*forwarded()) == (
            "2026-11-21T08:15:02.338+0545 2026-11-21T02:30:02.338Z"
        )
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_time_of_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "wall", lambda: MOMENT)
    assert build_formatter(parse_format("%EMIT_TIME% %EMIT_TIME(%s)%"))(*forwarded()) == (
        "2026-11-21T02:32:07.517Z 1795228327"
    )


def test_a_request_that_has_not_ended_lasts_until_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.75)
    request, response = forwarded()
    request.info.end = 0.0
    # Formats are compiled once, so this one must be new.
    assert build_formatter(parse_format("unfinished %DURATION%"))(request, response) == "unfinished 750"


def test_arguments_with_parentheses() -> None:
    assert build_formatter(parse_format("%START_TIME((%Y))%"))(*forwarded()) == "(2026)"
    assert parse_format("%START_TIME((%Y))%").parts == (Operator("START_TIME", "(%Y)"),)
