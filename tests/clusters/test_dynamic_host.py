from __future__ import annotations

import pytest

from pyproxy.clusters.dynamic_host import host_of, parse_authority
from tests.http.requests import make_request


@pytest.mark.parametrize(
    ("authority", "named"),
    [
        (b"a.test", ("a.test", 80)),
        (b"A.Test:81", ("a.test", 81)),
        (b"1.2.3.4:5", ("1.2.3.4", 5)),
        (b"[::1]", ("::1", 80)),
        (b"[::1]:9", ("::1", 9)),
        (b"", None),
        (b":80", None),
        (b"a:0", None),
        (b"a:65536", None),
        (b"a:x", None),
        (b"a:", None),
        (b"a:\xb2", None),
    ],
)
def test_authorities(authority: bytes, named: tuple[str, int] | None) -> None:
    assert parse_authority(authority, 80) == named


def test_what_a_filter_says_goes_first() -> None:
    request = make_request(authority="a")
    assert host_of(request, 80) == ("a", 80)
    request.info.connection.dynamic_host = ("b", 1)
    assert host_of(request, 80) == ("b", 1)
    request.info.dynamic_host = ("c", 2)
    assert host_of(request, 80) == ("c", 2)
