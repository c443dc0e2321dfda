"""What can be said of a text before a regular expression is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.routes.regex_literals import literals_of


@pytest.mark.parametrize(
    ("pattern", "prefix", "inside"),
    [
        ("/api/v1/users/[^/]+", "/api/v1/users/", ""),
        ("^/api.*$", "/api", ""),
        (r"/a\.b\/c\d+x", "/a.b/c", "x"),
        ("/ab?", "/a", ""),
        ("/ab*cde", "/a", "cde"),
        ("/ab{0,2}", "/a", ""),
        ("/ab+c", "/ab", "c"),
        ("/a(b|c)def", "/a", "def"),
        (".*/service-42/[0-9]+", "", "/service-42/"),
        ("x(ab)+?y", "x", "y"),
        ("[]a]b|[^]a]c", "", ""),
        ("[^]a|]bc", "", "bc"),
        ("[[:alpha:]]+bc", "", "bc"),
        ("/a|/b", "", ""),
        ("/a(b)|c", "", ""),
        (r"/a\|b", "/a|b", ""),
        (r"/a\Qb|c\E", "", ""),
        (r"\x41b", "", ""),
        ("(?i)/a", "", ""),
        ("/é", "", ""),
        ("", "", ""),
    ],
)
def test_what_a_regex_needs(pattern: str, prefix: str, inside: str) -> None:
    assert literals_of(pattern) == (prefix.encode(), inside.encode())


PATTERNS = [
    *("/a(b|c)d*ef", "(?:a+b)*?x?yz{2}z", "(a|b(c))+de", "/ab?c{0,2}x", "(/a|b)c", "/a[(]b|/c", r"/a\(b|/c"),
    *("^/x+(y|z(1|2))?", r"/[\]|]a|b", "a||b"),
]


@given(st.sampled_from(PATTERNS).flatmap(lambda p: st.tuples(st.just(p), st.from_regex(p, fullmatch=True))))
def test_whatever_a_regex_matches_holds_its_literals(case: tuple[str, str]) -> None:
    pattern, text = case
    literals = literals_of(pattern)
    assert text.encode().startswith(literals.prefix)
    assert literals.inside in text.encode()[len(literals.prefix) :]
