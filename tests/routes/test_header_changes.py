"""Header mutations. What comes out, and in which order, is what Envoy 1.40 sent."""

from __future__ import annotations

import pytest

from pyproxy.config.format import Format, Operator
from pyproxy.config.headers import AppendAction, HeaderAdd, HeaderChanges
from pyproxy.http.message import Headers, Pair, Response
from pyproxy.routes.header_changes import (
    build_header_adds,
    build_request_change,
    build_response_change,
    for_requests,
    for_responses,
)
from tests.http.requests import make_request

APPEND, ABSENT, OVERWRITE, EXISTING = (
    AppendAction.APPEND_IF_EXISTS_OR_ADD,
    AppendAction.ADD_IF_ABSENT,
    AppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    AppendAction.OVERWRITE_IF_EXISTS,
)
BEFORE: list[Pair] = [(b"x-a", b"0"), (b"x-c", b"old"), (b"user-agent", b"ua"), (b"x-c", b"old2"), (b"cookie", b"a=b")]


def literal(text: str) -> Format:
    return Format((text,))


UNSET = Format((Operator("REQ", "nope"),))
MIXED = Format(("a", Operator("REQ", "nope"), "b"))


def add(name: str, value: Format | str, action: AppendAction = APPEND, *, keep: bool = False) -> HeaderAdd:
    return HeaderAdd(name.encode(), literal(value) if isinstance(value, str) else value, action, keep)


def changed(*adds: HeaderAdd, remove: tuple[bytes, ...] = ()) -> list[Pair]:
    request = make_request("/", *BEFORE)
    change = for_requests([build_request_change(HeaderChanges(adds, remove))])
    assert change is not None
    change(request)
    assert set(request.headers.index) == {name for name, _ in request.headers.pairs}
    return request.headers.pairs


def without(*names: bytes) -> list[Pair]:
    return [pair for pair in BEFORE if pair[0] not in names]


@pytest.mark.parametrize(
    ("value", "keep", "text"),
    [
        ("new", False, b"new"),
        (UNSET, False, None),
        (literal(""), False, None),
        (MIXED, False, b"ab"),
        (UNSET, True, b""),
        (literal(""), True, b""),
    ],
)
def test_the_four_actions(value: Format | str, keep: bool, text: bytes | None) -> None:
    appended = list(BEFORE)
    if text is not None:
        appended += [(b"x-c", text)]
        if text:
            appended[2] = (b"user-agent", b"ua," + text)
    assert changed(add("x-c", value, keep=keep), add("user-agent", value, keep=keep)) == appended

    assert changed(add("x-c", value, ABSENT, keep=keep), add("user-agent", value, ABSENT, keep=keep)) == BEFORE

    overwritten = BEFORE if text is None else [*without(b"x-c", b"user-agent"), (b"x-c", text), (b"user-agent", text)]
    for action in (OVERWRITE, EXISTING):
        assert changed(add("x-c", value, action, keep=keep), add("user-agent", value, action, keep=keep)) == overwritten

    new = [] if text is None else [(b"x-new", text)]
    for action in (APPEND, ABSENT, OVERWRITE):
        assert changed(add("x-new", value, action, keep=keep)) == BEFORE + new
    assert changed(add("x-new", value, EXISTING, keep=keep)) == BEFORE


def test_several_for_one_name() -> None:
    new = [(b"x-n", b"1"), (b"x-n", b"2")]
    assert changed(add("x-n", "1"), add("x-n", "2")) == BEFORE + new
    assert changed(add("user-agent", "1"), add("user-agent", "2"))[2] == (b"user-agent", b"ua,1,2")
    # Whether it is there is asked before anything is added.
    assert changed(add("x-n", "1", ABSENT), add("x-n", "2", ABSENT)) == BEFORE + new
    assert changed(add("x-n", "1"), add("x-n", "2", EXISTING)) == BEFORE + new[:1]
    # What is overwritten is so before anything is added.
    rest = without(b"x-c")
    assert changed(add("x-c", "1", OVERWRITE), add("x-c", "2", OVERWRITE)) == [*rest, (b"x-c", b"2")]
    assert changed(add("x-c", "1"), add("x-c", "2", OVERWRITE)) == [*rest, (b"x-c", b"2"), (b"x-c", b"1")]
    assert changed(add("x-c", "1", OVERWRITE), add("x-c", "2")) == [*rest, (b"x-c", b"1"), (b"x-c", b"2")]


def test_removal_comes_first_and_values_see_the_request_before_the_additions() -> None:
    seen = Format((Operator("REQ", "x-a"), "|", Operator("REQ", "x-c"), "|", Operator("REQ", "x-n")))
    pairs = changed(add("x-n", "1"), add("x-c", "again"), add("x-seen", seen), remove=(b"x-c", b"none"))
    assert pairs == [*without(b"x-c"), (b"x-n", b"1"), (b"x-c", b"again"), (b"x-seen", b"0||")]


def test_plain_additions_behind_removal() -> None:
    assert changed(add("x-c", "1"), add("x-c", "2"), remove=(b"x-c",)) == [
        *without(b"x-c"),
        (b"x-c", b"1"),
        (b"x-c", b"2"),
    ]
    assert changed(remove=(b"x-c", b"user-agent")) == without(b"x-c", b"user-agent")


def test_levels_come_one_after_the_other() -> None:
    levels = [
        HeaderChanges(
            (add("x-order", name), add("x-saw", Format((f"{name}=", Operator("REQ", "x-order"))))),
            (b"x-gone-" + name.encode(),),
            (add("y-order", name, OVERWRITE),),
            (b"y-gone-" + name.encode(),),
        )
        for name in ("r", "v")
    ]
    request = make_request("/", (b"x-gone-v", b"1"), (b"x-gone-r", b"1"))
    change = for_requests(build_request_change(level) for level in levels)
    assert change is not None
    change(request)
    assert request.headers.pairs == [
        (b"x-order", b"r"),
        (b"x-saw", b"r="),
        (b"x-order", b"v"),
        (b"x-saw", b"v=r"),
    ]
    response = Response(200, Headers([(b"y-gone-r", b"1"), (b"y-gone-v", b"1"), (b"y", b"1")]))
    change_response = for_responses(build_response_change(level) for level in levels)
    assert change_response is not None
    change_response(request, response)
    assert response.headers.pairs == [(b"y", b"1"), (b"y-order", b"v")]


def test_nothing_to_do_is_none() -> None:
    assert build_request_change(HeaderChanges(response_remove=(b"x",))) is None
    assert build_response_change(HeaderChanges(request_remove=(b"x",))) is None
    assert for_requests([None, None]) is None
    assert for_responses([]) is None


def test_additions_to_a_response() -> None:
    response = Response(503, Headers([(b"content-type", b"text/plain"), (b"set-cookie", b"a")]))
    code = Format((Operator("RESP", ":status"),))
    build_header_adds((add("content-type", "x"), add("set-cookie", "b"), add("x-code", code)))(make_request(), response)
    assert response.headers.pairs == [
        (b"content-type", b"text/plain,x"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"x-code", b"503"),
    ]
