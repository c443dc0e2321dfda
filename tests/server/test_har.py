"""HTTP archives."""

from __future__ import annotations

from pyproxy.server.har import har
from pyproxy.telemetry.live_tap import entry_of
from tests.telemetry.exchanges import forwarded, unread


def test_an_archive() -> None:
    made = har([entry_of(*forwarded()), entry_of(*unread())], "1.0")["log"]
    assert (made["version"], made["creator"]) == ("1.2", {"name": "pyproxy", "version": "1.0"})
    first, second = made["entries"]
    assert first["startedDateTime"] == "2026-11-21T02:30:02.338+00:00"
    assert first["request"]["url"] == "http://h:1/up/x?a=1&b=%20x&c"
    assert first["request"]["queryString"] == [
        {"name": "a", "value": "1"},
        {"name": "b", "value": " x"},
        {"name": "c", "value": ""},
    ]
    assert {"name": "x-b", "value": "vb"} in first["request"]["headers"]
    assert first["response"]["status"] == 200
    assert first["serverIPAddress"] == "127.0.0.1"
    assert first["_cluster"] == "up"
    assert first["timings"]["send"] + first["timings"]["wait"] + first["timings"]["receive"] == first["time"]
    assert second["response"]["status"] == 400


def test_bodies_that_were_asked_for() -> None:
    entry = entry_of(*forwarded())
    entry["request_body"] = {"size": 5, "truncated": False, "text": "asked"}
    entry["response_body"] = {"size": 9, "truncated": True, "text": "answ"}
    (made,) = har([entry], "1.0")["log"]["entries"]
    assert made["request"]["postData"]["text"] == "asked"
    content = made["response"]["content"]
    assert (content["text"], content["comment"]) == ("answ", "only the beginning")
    entry["response_body"] = {"size": 9, "truncated": False}
    (made,) = har([entry], "1.0")["log"]["entries"]
    assert "text" not in made["response"]["content"]
