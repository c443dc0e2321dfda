"""Path templates of google.api.http, and which of them a path fits."""

from __future__ import annotations

import pytest

from pyproxy.transcoding.error import BadDescriptors
from pyproxy.transcoding.path_matcher import PathMatcher, Unescape
from pyproxy.transcoding.path_template import parse_template


@pytest.mark.parametrize(
    "template",
    ["v", "/v/{", "/v/}", "/v/{a", "/v/{a=}", "/v/{1a}", "/v//b", "/v/**/**", "/v/{a}/{a}", "/v/{a={b}}", "/a*b"],
)
def test_bad_templates(template: str) -> None:
    with pytest.raises(BadDescriptors):
        parse_template(template)


def matcher(*templates: str, **options: bool | Unescape) -> PathMatcher[str]:
    made: PathMatcher[str] = PathMatcher(**options)  # type: ignore[arg-type]
    for template in templates:
        assert made.add("GET", parse_template(template), template)
    return made


@pytest.mark.parametrize(
    ("path", "template", "bound"),
    [
        ("/v1/shelves", "/v1/shelves", {}),
        ("/v1/shelves/", "/v1/shelves", {}),
        ("/v1/shelves/x", "/v1/shelves/{shelf}", {"shelf": "x"}),
        ("/v1/shelves/x%2Fy%20z", "/v1/shelves/{shelf}", {"shelf": "x/y z"}),
        ("/v1/shelves/new", "/v1/shelves/new", {}),
        ("/v1/shelves/new/books", "/v1/{name=shelves/*}/books", {"name": "shelves/new"}),
        ("/v1/shelves/a/b/c", "/v1/shelves/**", {}),
        ("/v1/files/a/b%2Fc/d%20e", "/v1/files/{path=**}", {"path": "a/b%2Fc/d e"}),
        ("/v1/files/", "/v1/files/{path=**}", {"path": ""}),
        ("/v1/files/a/b/meta", "/v1/files/{path=**}/meta", {"path": "a/b"}),
        ("/v1/shelves/x:open", "/v1/shelves/{shelf}:open", {"shelf": "x"}),
        ("/v1/shelves/x:close", "/v1/shelves/{shelf}", {"shelf": "x:close"}),
        ("/v1/a/1/b/2", "/v1/a/{one.two}/b/{three}", {"one.two": "1", "three": "2"}),
        ("/v2", None, {}),
        ("/v1", None, {}),
    ],
)
def test_the_most_special_one_is_found(path: str, template: str | None, bound: dict[str, str]) -> None:
    templates = matcher(
        "/v1/shelves",
        "/v1/shelves/{shelf}",
        "/v1/shelves/new",
        "/v1/{name=shelves/*}/books",
        "/v1/shelves/**",
        "/v1/files/{path=**}",
        "/v1/files/{path=**}/meta",
        "/v1/shelves/{shelf}:open",
        "/v1/a/{one.two}/b/{three}",
    )
    found = templates.find("GET", path.encode())
    assert (None if found is None else found[0]) == template
    if found is not None:
        assert {".".join(name): text for name, text in found[1]} == bound
    assert templates.find("POST", path.encode()) is None


@pytest.mark.parametrize(
    ("unescape", "value"),
    [(Unescape.NOT_RESERVED, "a%2F%3a b"), (Unescape.NOT_SLASH, "a%2F: b"), (Unescape.ALL, "a/: b")],
)
def test_what_stays_escaped(unescape: Unescape, value: str) -> None:
    found = matcher("/{path=**}", unescape=unescape).find("GET", b"/a%2F%3a%20b")
    assert found is not None
    assert found[1][0][1] == value


def test_unknown_verbs() -> None:
    assert matcher("/v/{a}", any_verb=True).find("GET", b"/v/x:y") is None


def test_the_same_pattern_twice() -> None:
    templates = matcher("/v/{a}")
    assert not templates.add("GET", parse_template("/v/{b}"), "other")
    assert templates.add("PUT", parse_template("/v/{b}"), "other")
