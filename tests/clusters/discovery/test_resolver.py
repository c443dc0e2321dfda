from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from pyproxy.clusters.discovery.resolver import Resolution, ResolutionFailed, SystemResolver
from pyproxy.config.dns import SystemResolverConfig


def answers(monkeypatch: pytest.MonkeyPatch, table: dict[int, list[str] | int | Exception]) -> list[int]:
    """Have getaddrinfo answer by family: addresses, an EAI_* number, or an exception."""
    asked: list[int] = []

    def getaddrinfo(host: str, port: object, family: int = 0, *args: Any, **options: Any) -> list[Any]:
        asked.append(family)
        answer = table[family]
        if isinstance(answer, int):
            raise socket.gaierror(answer, "said so")
        if isinstance(answer, Exception):
            raise answer
        return [(family, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answer]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


V4, V6, ANY = socket.AF_INET, socket.AF_INET6, socket.AF_UNSPEC


@pytest.mark.parametrize(
    ("family", "table", "expected", "asked"),
    [
        ("AUTO", {V6: ["::1"], V4: ["10.0.0.1"]}, ("::1",), [V6]),
        ("AUTO", {V6: socket.EAI_NODATA, V4: ["10.0.0.1"]}, ("10.0.0.1",), [V6, V4]),
        ("AUTO", {V6: socket.EAI_NONAME, V4: socket.EAI_NONAME}, (), [V6, V4]),
        ("V4_ONLY", {V4: ["10.0.0.1", "10.0.0.2", "10.0.0.1"]}, ("10.0.0.1", "10.0.0.2"), [V4]),
        ("V6_ONLY", {V6: []}, (), [V6]),
        ("V4_PREFERRED", {V4: ["10.0.0.1"]}, ("10.0.0.1",), [V4]),
        ("V4_PREFERRED", {V4: socket.EAI_NONAME, V6: ["::1"]}, ("::1",), [V4, V6]),
        ("ALL", {ANY: ["::1", "10.0.0.1"]}, ("::1", "10.0.0.1"), [ANY]),
    ],
)
async def test_lookup_families(
    monkeypatch: pytest.MonkeyPatch, family: str, table: dict[int, Any], expected: tuple[str, ...], asked: list[int]
) -> None:
    made = answers(monkeypatch, table)
    assert (await SystemResolver(asyncio.get_running_loop()).resolve("name", family)).addresses == expected
    assert made == asked


@pytest.mark.parametrize("error", [socket.EAI_AGAIN, socket.EAI_FAIL, OSError("no more files"), UnicodeError("label")])
async def test_no_answer_is_not_the_same_as_no_address(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    answers(monkeypatch, {V4: error})
    with pytest.raises(ResolutionFailed, match="name"):
        await SystemResolver(asyncio.get_running_loop()).resolve("name", "V4_ONLY")


@pytest.mark.parametrize(
    ("address", "family", "expected"),
    [
        ("10.0.0.1", "AUTO", ("10.0.0.1",)),
        ("10.0.0.1", "V6_ONLY", ()),
        ("::1", "V4_ONLY", ()),
        ("::1", "ALL", ("::1",)),
        ("10.0.0.1", "V4_PREFERRED", ("10.0.0.1",)),
    ],
)
async def test_addresses_are_not_resolved(
    monkeypatch: pytest.MonkeyPatch, address: str, family: str, expected: tuple[str, ...]
) -> None:
    asked = answers(monkeypatch, {})
    assert await SystemResolver(asyncio.get_running_loop()).resolve(address, family) == Resolution(expected)
    assert asked == []


async def test_localhost_by_the_real_resolver() -> None:
    found = await SystemResolver(asyncio.get_running_loop()).resolve("localhost", "V4_ONLY")
    assert found == Resolution(("127.0.0.1",), 60.0)


async def test_an_answer_of_one_family_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {V6: socket.EAI_AGAIN, V4: ["10.0.0.1"]})
    found = await SystemResolver(asyncio.get_running_loop()).resolve("name", "AUTO")
    assert found.addresses == ("10.0.0.1",)


async def test_a_question_is_asked_again_as_often_as_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, {V4: socket.EAI_AGAIN})
    resolver = SystemResolver(asyncio.get_running_loop(), SystemResolverConfig(retries=2, threads=1))
    with pytest.raises(ResolutionFailed, match="name"):
        await resolver.resolve("name", "V4_ONLY")
    assert asked == [V4, V4, V4]
    resolver.close()
