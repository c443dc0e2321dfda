from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy import clock
from pyproxy.filters.http.stateful_session import SessionConfig, StatefulSession, address_of, session_of
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo, UpstreamInfo

HOST = "10.0.0.1:80"
COOKIE = SessionConfig(cookie="s", path="/app", ttl=60, attributes=(("SameSite", "Lax"), ("Secure", "")))


async def pass_by(
    config: SessionConfig, path: bytes = b"/app", *fields: tuple[bytes, bytes]
) -> tuple[Request, Response]:
    request = Request(b"GET", path, b"a", Headers(list(fields)), StreamInfo(0.0, 0.0, ConnectionInfo()))

    async def answer(request: Request) -> Response:
        request.info.upstream = upstream = UpstreamInfo()
        upstream.host_address = HOST
        return Response(200, Headers())

    return request, await StatefulSession(config)(request, answer)


async def test_the_first_answer_tells_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "wall", lambda: 1000.0)
    request, response = await pass_by(COOKIE)
    assert request.info.override_host == ""
    value = base64.b64encode(session_of(HOST.encode(), 1060)).decode()
    said = f's="{value}"; Max-Age=60; Path=/app; SameSite=Lax; Secure; HttpOnly'
    assert response.headers.pairs == [(b"set-cookie", said.encode())]

    request, response = await pass_by(COOKIE, b"/app/x", (b"cookie", f"a=b; s={value}".encode()))
    assert (request.info.override_host, request.info.override_strict) == (HOST, False)
    assert response.headers.pairs == []


@pytest.mark.parametrize("path", [b"/", b"/ap", b"/apple", b"/x/app"])
async def test_other_paths_are_not_concerned(path: bytes) -> None:
    _, response = await pass_by(COOKIE, path)
    assert response.headers.pairs == []


async def test_a_header_does_as_well() -> None:
    config = SessionConfig(header=b"x-s", strict=True)
    other = base64.b64encode(b"10.0.0.2:80")
    request, response = await pass_by(config, b"/", (b"x-s", other))
    assert (request.info.override_host, request.info.override_strict) == ("10.0.0.2:80", True)
    assert response.headers.pairs == [(b"x-s", base64.b64encode(HOST.encode()))]


async def test_without_a_state_nothing_happens() -> None:
    request, response = await pass_by(SessionConfig(), b"/", (b"cookie", b"s=x"))
    assert (request.info.override_host, response.headers.pairs) == ("", [])


def test_a_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "wall", lambda: 1000.0)
    assert address_of(session_of(b"1.2.3.4:5", 1000)) == "1.2.3.4:5"
    assert address_of(session_of(b"1.2.3.4:5", 999)) == ""
    assert address_of(b"127.0.0.1:19923") == "127.0.0.1:19923"


@given(st.binary(max_size=50))
def test_any_cookie_is_read(value: bytes) -> None:
    assert isinstance(address_of(value), str)
