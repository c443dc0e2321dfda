from __future__ import annotations

import pytest

from pyproxy.clusters.transport_socket_options import name_upstream
from pyproxy.config.cluster import UpstreamHttpOptions
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo

BOTH = UpstreamHttpOptions(auto_sni=True, auto_san_validation=True)


def request(authority: bytes, *headers: tuple[bytes, bytes]) -> Request:
    return Request(b"GET", b"/", authority, Headers(list(headers)), StreamInfo(0.0, 0.0, ConnectionInfo()))


@pytest.mark.parametrize(
    ("authority", "sni", "san"),
    [
        (b"a.test", "a.test", "a.test"),
        (b"a.test:8443", "a.test", "a.test"),
        (b"127.0.0.1:80", "", "127.0.0.1"),
        (b"[::1]:80", "", "::1"),
        (b"a.test:x", "a.test:x", "a.test:x"),
    ],
)
def test_the_authority_names_the_upstream(authority: bytes, sni: str, san: str) -> None:
    asked = request(authority)
    name_upstream(asked, BOTH)
    assert (asked.info.upstream_server_name, asked.info.upstream_sans) == (sni, (san,))


def test_a_header_can_go_first_and_once_is_enough() -> None:
    asked = request(b"a.test", (b"x-name", b"b.test"))
    name_upstream(asked, UpstreamHttpOptions(auto_sni=True, sni_header=b"x-name"))
    asked.authority = b"c.test"
    name_upstream(asked, BOTH)
    assert (asked.info.upstream_server_name, asked.info.upstream_sans) == ("b.test", ())
