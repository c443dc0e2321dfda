"""URI templates on their own; what they match in a table is in `test_table`."""

from __future__ import annotations

import pytest

from pyproxy.routes.uri_template import UriTemplate, UriTemplateRewrite, literal_prefix


@pytest.mark.parametrize(
    ("template", "path", "variables"),
    [
        ("/a/{x}/{y=**}", b"/a/1/2/3", {"x": b"1", "y": b"2/3"}),
        ("/a/{x=b/*}/*", b"/a/b/c/d", {"x": b"b/c"}),
        ("/a/{x}.json", b"/a/b.c.json", {"x": b"b.c"}),
        ("/a/**", b"/a/", {}),
        ("/a/{x}", b"/a/", None),
        ("/a.b/{x}", b"/aXb/c", None),
    ],
)
def test_variables(template: str, path: bytes, variables: dict[str, bytes] | None) -> None:
    made = UriTemplate(template)
    assert made.variables(path) == variables
    assert made.matches(path) is (variables is not None)


@pytest.mark.parametrize("path", [b"/a/%22", b"/a/\xc3\xa9", b'/a/"', b"/a/{}", b"/a/^", b"/a/[", b"/a/|", b"/a/\\"])
def test_a_segment_is_made_of_pchar(path: bytes) -> None:
    assert UriTemplate("/a/*").matches(path) is (path == b"/a/%22")


def test_rewrites() -> None:
    rewrite = UriTemplateRewrite("/a/{x}/{y=**}", "/n/{y}/{x}!")
    assert rewrite(b"/a/1/2/3") == b"/n/2/3/1!"
    assert rewrite(b"/b") == b""


def test_what_every_path_begins_with() -> None:
    assert [literal_prefix(one) for one in ("/a/{x}", "/a/*", "/a/b", "/{x}")] == [b"/a/", b"/a/", b"/a/b", b"/"]
