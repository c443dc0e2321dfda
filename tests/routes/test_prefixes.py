"""Sets of prefixes, and the prefixes of regular expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.routes.prefixes import PrefixSet
from pyproxy.routes.regex_prefix import literal_prefix

TEXTS = st.lists(st.sampled_from(["/", "a", "b", "é", "\xff"]), max_size=6).map(lambda parts: "".join(parts).encode())


@given(st.sets(TEXTS, max_size=20), TEXTS)
def test_a_prefix_set_gives_all_prefixes_longest_first(keys: set[bytes], text: bytes) -> None:
    expected = sorted((key for key in keys if text.startswith(key)), key=len, reverse=True)
    assert list(PrefixSet(keys).of(text)) == expected


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("/api/v1/users/[^/]+", "/api/v1/users/"),
        ("^/api.*$", "/api"),
        (r"/a\.b\/c\d+", "/a.b/c"),
        ("/ab?", "/a"),
        ("/ab*c", "/a"),
        ("/ab{0,2}", "/a"),
        ("/ab+", "/ab"),
        ("/a|/b", ""),
        ("/a(b|c)", "/a"),
        ("/a(b)|c", ""),
        ("/a[b|c]", ""),
        ("/a[bc]|d", ""),
        (r"/a\|b", "/a|b"),
        (r"/a\Qb|c\E", ""),
        ("(?i)/a", ""),
        (".*", ""),
        ("/é", ""),
        ("", ""),
    ],
)
def test_what_a_regex_begins_with(pattern: str, prefix: str) -> None:
    assert literal_prefix(pattern) == prefix.encode()


PATTERNS = ["/a(b|c)d*", "/ab?c{0,2}x", "(/a|b)c", "/a[(]b|/c", r"/a\(b|/c", "^/x+(y|z(1|2))?", r"/[\]|]a|b", "a||b"]


@given(st.sampled_from(PATTERNS).flatmap(lambda p: st.tuples(st.just(p), st.from_regex(p, fullmatch=True))))
def test_whatever_a_regex_matches_begins_so(case: tuple[str, str]) -> None:
    pattern, text = case
    assert text.encode().startswith(literal_prefix(pattern))
