from __future__ import annotations

import pytest

from pyproxy.routes.location import Location, parse_location


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"http://a/b?c", Location(b"http", b"a", b"/b?c")),
        (b"HTTPS://A.b:443/", Location(b"https", b"A.b:443", b"/")),
        (b"http://a", Location(b"http", b"a", b"/")),
        (b"http://a/b#c", Location(b"http", b"a", b"/b")),
        (b"http://a/#", Location(b"http", b"a", b"/")),
        (b"http://[::1]:80/x", Location(b"http", b"[::1]:80", b"/x")),
        (b"http://a:65535/", Location(b"http", b"a:65535", b"/")),
    ],
)
def test_whole_urls(value: bytes, found: Location) -> None:
    assert parse_location(value) == found


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"/x",
        b"//a/x",
        b"http:/a",
        b"http://",
        b"http:///x",
        b"ftp://a/",
        b"http://a:65536/",
        b"http://a:/",
        b"http://u@a/",
        b"http://a b/",
        b"http://a/ b",
        b"http://a/\xc3\xa4",
        b"http://a\\b/",
        b"http://a?x",
        b" http://a/",
        b"http://a/\r\nx: y",
    ],
)
def test_what_is_none(value: bytes) -> None:
    assert parse_location(value) is None
