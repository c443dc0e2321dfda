"""Requests that somebody watches."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.telemetry import live_tap
from pyproxy.telemetry.live_tap import REDACTED, LiveTap, TapWish, entry_of, redacted_path
from tests.telemetry.exchanges import forwarded, unread


def entry(**changes: Any) -> dict[str, Any]:
    plain = {"method": "GET", "path": "/api/x", "host": "shop.test", "status": 503, "peer": "spiffe://d/web"}
    return {**plain, "milliseconds": 10.0, **changes}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({}, True),
        ({"method": "get"}, True),
        ({"method": "POST"}, False),
        ({"path": "/api"}, True),
        ({"path": "/other"}, False),
        ({"host": "shop"}, True),
        ({"status": "503"}, True),
        ({"status": "5xx"}, True),
        ({"status": "4xx"}, False),
        ({"status": "500"}, False),
        ({"peer": "/web"}, True),
        ({"peer": "/api"}, False),
        ({"slower_than": "10"}, True),
        ({"slower_than": "10.1"}, False),
        ({"method": "GET", "status": "200"}, False),
    ],
)
def test_wishes(words: dict[str, str], wanted: bool) -> None:
    wish = TapWish.parse(words)
    assert wish.wants(entry()) is wanted
    assert TapWish(**wish.as_message()) == wish


@pytest.mark.parametrize(
    "words",
    [{"status": "x"}, {"status": "600"}, {"status": "50"}, {"slower_than": "x"}, {"bodies": "-1"}, {"bodies": "99999"}],
)
def test_wishes_that_are_none(words: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        TapWish.parse(words)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/x", "/x"),
        ("/x?a=1&b=2", "/x?a=1&b=2"),
        ("/x?token=t&a=1", f"/x?token={REDACTED}&a=1"),
        ("/x?a=1&X-Amz-Signature=s", f"/x?a=1&X-Amz-Signature={REDACTED}"),
        ("/x?client_secret=", f"/x?client_secret={REDACTED}"),
    ],
)
def test_secrets_in_paths_are_left_out(path: str, shown: str) -> None:
    assert redacted_path(path) == shown


def test_secrets_in_headers_are_left_out() -> None:
    request, response = forwarded()
    for name in (b"authorization", b"cookie", b"x-api-key"):
        request.headers.add(name, b"secret value")
    response.headers.add(b"set-cookie", b"secret value")
    seen = entry_of(request, response)
    assert "secret value" not in str(seen)
    assert ("authorization", REDACTED) in seen["request_headers"]
    assert ("x-b", "vb") in seen["request_headers"]


def test_an_entry() -> None:
    request, response = forwarded()
    seen = entry_of(request, response)
    assert (seen["method"], seen["status"], seen["cluster"], seen["upstream"]) == ("POST", 200, "up", "127.0.0.1:9000")
    assert (seen["milliseconds"], seen["upstream_milliseconds"]) == (pytest.approx(20.8), pytest.approx(5.5))
    assert entry_of(*unread())["flags"] == "DPE"


def test_only_what_is_wanted_is_kept_and_not_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_tap, "MOST_WAITING", 2)
    tap = LiveTap()
    tap.wishes = (TapWish(status="404"), TapWish(method="POST"))
    for _ in range(3):
        tap.see(*forwarded())
    tap.see(*unread())
    entries, dropped = tap.take()
    assert (len(entries), dropped) == (2, 1)
    assert tap.take() == ([], 0)
