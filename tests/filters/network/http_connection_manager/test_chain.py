"""Chains of filters: who takes part, and who sees local replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pyproxy.config.listener import FilterConfig
from pyproxy.config.route import FilterOverride
from pyproxy.errors import ProxyError, Source
from pyproxy.filters.network.http_connection_manager.chain import build_chain
from pyproxy.http.message import Headers, Request, Response
from tests.telemetry.exchanges import forwarded

Next = Callable[[Request], Awaitable[Response]]
BAD = ProxyError(None, Source.LOCAL, 503, "bad")
RESET = ProxyError(None, Source.LOCAL, 0, "reset")


class Marks:
    """Leaves its name in the response."""

    def __init__(self, name: str, *, sees_replies: bool = False) -> None:
        self.name = name
        self.sees_replies = sees_replies
        self.manager: Any = None

    def build(self, runtime: Any) -> Marks:
        return self

    def bind(self, manager: Any) -> None:
        self.manager = manager

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002
        response = await next(request)
        response.headers.add(b"by", self.name.encode())
        return response


class Ends:
    def __init__(self, answer: Response | ProxyError) -> None:
        self.answer = answer

    def build(self, runtime: Any) -> Ends:
        return self

    async def __call__(self, request: Request) -> Response:
        if isinstance(self.answer, ProxyError):
            raise self.answer
        return self.answer


class Manager:
    def reply(self, request: Request, error: ProxyError) -> Response:
        return Response(error.status, Headers())

    def shape_direct(self, request: Request, response: Response) -> Response:
        request.info.shaped = True
        response.headers.add(b"shaped", b"")
        return response


MANAGER: Any = Manager()


def chain(answer: Response | ProxyError, *filters: FilterConfig) -> Any:
    last = FilterConfig("last", "t", Ends(answer))
    return build_chain((*filters, last), MANAGER, SimpleNamespace())  # type: ignore[arg-type]


def good() -> Response:
    return Response(200, Headers())


def one(name: str, *, disabled: bool = False, sees_replies: bool = False) -> FilterConfig:
    return FilterConfig(name, "t", Marks(name, sees_replies=sees_replies), disabled)


def request_with(**overrides: FilterOverride) -> Request:
    request, _ = forwarded()
    request.route = SimpleNamespace(filter_configs=overrides)
    return request


async def test_the_first_is_the_outermost() -> None:
    response = await chain(good(), one("a"), one("b"))(request_with())
    assert response.headers.get_all(b"by") == [b"b", b"a"]


async def test_filters_get_to_know_their_manager() -> None:
    config = one("a")
    chain(good(), config)
    assert config.config.manager is MANAGER


@pytest.mark.parametrize(
    ("disabled", "override", "runs"),
    [
        (False, None, True),
        (True, None, False),
        (False, FilterOverride(disabled=True), False),
        (True, FilterOverride("anything"), True),
    ],
)
async def test_who_takes_part(disabled: bool, override: FilterOverride | None, runs: bool) -> None:
    request = request_with() if override is None else request_with(a=override)
    response = await chain(good(), one("a", disabled=disabled))(request)
    assert (b"by" in response.headers) == runs


async def test_without_a_route_the_chain_decides() -> None:
    request, _ = forwarded()
    assert b"by" in (await chain(good(), one("a"))(request)).headers


async def test_who_wants_to_sees_local_replies() -> None:
    response = await chain(BAD, one("a", sees_replies=True), one("b"))(request_with())
    assert response.status == 503
    assert response.headers.get_all(b"by") == [b"a"]


async def test_a_reset_is_no_reply() -> None:
    with pytest.raises(ProxyError):
        await chain(RESET, one("a", sees_replies=True))(request_with())


async def test_direct_responses_are_shaped_once() -> None:
    request = request_with()
    request.info.details = "direct_response"
    response = await chain(good(), one("a", sees_replies=True), one("b", sees_replies=True))(request)
    assert response.headers.get_all(b"shaped") == [b""]
