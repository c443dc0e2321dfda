"""Header changes as values."""

from __future__ import annotations

import pytest

from pyproxy.config.format import Format, Operator
from pyproxy.config.header_compile import compile_header_add, compile_header_changes
from pyproxy.config.headers import NO_CHANGES, AppendAction, HeaderAdd
from pyproxy.config.invalid import InvalidConfig
from tests.config.compiling import problems, unread, view

OPTION = "envoy.config.core.v3.HeaderValueOption"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{header: {key: X-A, value: b}}", HeaderAdd(b"x-a", Format(("b",)))),
        ("{header: {key: a, value: ''}}", HeaderAdd(b"a", Format(()))),
        ("{header: {key: a, value: '%PROTOCOL%'}}", HeaderAdd(b"a", Format((Operator("PROTOCOL"),)))),
        (
            "{header: {key: a, value: '%PER_REQUEST_STATE(k)%'}}",
            HeaderAdd(b"a", Format((Operator("FILTER_STATE", "k:PLAIN"),))),
        ),
        ("{header: {key: a, raw_value: /w==}}", HeaderAdd(b"a", Format(("\udcff",)))),
        (
            "{header: {key: a, value: b}, append: false, keep_empty_value: true}",
            HeaderAdd(b"a", Format(("b",)), AppendAction.OVERWRITE_IF_EXISTS_OR_ADD, True),
        ),
        *(
            (f"{{header: {{key: a, value: b}}, append_action: {action.name}}}", HeaderAdd(b"a", Format(("b",)), action))
            for action in AppendAction
        ),
    ],
)
def test_a_header_becomes_a_value(text: str, value: HeaderAdd) -> None:
    seen = view(OPTION, text)
    assert compile_header_add(seen) == value
    assert unread(seen) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{header: {key: ':path', value: b}}", "header.key: the header ':path' may not be changed"),
        ("{header: {key: HOST, value: b}}", "header.key: the header 'host' may not be changed"),
        ("{header: {key: 'a b', value: b}}", "header.key: 'a b' is not a header name"),
        ("{header: {key: a, value: '%REQ%'}}", "header.value: %REQ% needs an argument"),
        (
            "{header: {key: a, value: b}, append: true, append_action: ADD_IF_ABSENT}",
            "append: is set, and append_action too",
        ),
    ],
)
def test_a_fault_says_where(text: str, reason: str) -> None:
    with pytest.raises(InvalidConfig) as raised:
        compile_header_add(view(OPTION, text))
    assert str(raised.value).startswith(reason)


def test_no_changes_are_one_value() -> None:
    assert compile_header_changes(view("envoy.config.route.v3.Route", "name: x")) is NO_CHANGES


def test_what_decides_the_route_cannot_be_removed() -> None:
    text = "{request_headers_to_remove: [X-A, Host], response_headers_to_add: [{header: {key: 'x:y', value: z}}]}"
    seen = view("envoy.config.route.v3.Route", text)
    with pytest.raises(InvalidConfig, match="'host' may not be removed"):
        compile_header_changes(seen)
    seen = view("envoy.config.route.v3.Route", "{request_headers_to_remove: [X-A, 'a b']}")
    assert compile_header_changes(seen).request_remove == (b"x-a", b"a b")
    assert problems(seen) == []
