"""What a memo remembers, and that a log line cannot tell."""

from __future__ import annotations

import json

from pyproxy.config.format import parse_json_format
from pyproxy.telemetry.formatter import build_json_formatter
from pyproxy.telemetry.formatter_memo import ENTRIES, LONGEST, Memo
from tests.telemetry.exchanges import forwarded


def test_what_comes_again_is_made_once() -> None:
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key.upper()

    memo = Memo(make)
    assert [memo["a"], memo["b"], memo["a"]] == ["A", "B", "A"]
    assert made == ["a", "b"]


def test_a_memo_is_bounded() -> None:
    memo = Memo(str)
    for number in range(3 * ENTRIES):
        assert memo[number] == str(number)
        assert len(memo) <= ENTRIES


def test_what_is_long_is_not_remembered() -> None:
    memo = Memo(str)
    long = "x" * (LONGEST + 1)
    assert memo[long] == long
    assert not memo


def test_a_line_tells_each_request_as_it_is() -> None:
    line = build_json_formatter(parse_json_format({"path": "%REQ(:PATH)%", "peer": "%DOWNSTREAM_REMOTE_ADDRESS%"}))
    request, response = forwarded()
    paths = [b"/a", b"", b'/"', b"/a", b"/\xff", b"", b"/\xc3\xbf", b"/\xff"]
    seen = []
    for port, path in enumerate(paths):
        request.path = path
        request.info.connection.remote = ("10.0.0.1", port % 3)
        seen.append(json.loads(line(request, response)))
    assert [one["path"] for one in seen] == ["/a", None, '/"', "/a", "/ÿ", None, "/ÿ", "/ÿ"]
    assert [one["peer"] for one in seen] == [f"10.0.0.1:{port % 3}" for port in range(len(paths))]


def test_what_stands_between_values_is_kept_whole() -> None:
    fields = {"a": "%PROTOCOL%", "b": "c" * 1000, "d": ["%REQ(X-NONE)%", {"e": 1, "f": "%ROUTE_NAME%"}], "g": 2}
    line = build_json_formatter(parse_json_format(fields))
    expected = {"a": "HTTP/1.1", "b": "c" * 1000, "d": [None, {"e": 1, "f": "r"}], "g": 2}
    for _ in range(2):
        assert json.loads(line(*forwarded())) == expected
