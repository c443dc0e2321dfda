"""URI templates are checked. What is taken and refused is compared with Envoy in test_compile_verdicts."""

from __future__ import annotations

import pytest

from pyproxy.config.uri_template import BadTemplate, check_rewrite, check_template


@pytest.mark.parametrize(
    ("text", "variables"),
    [("/", ()), ("/a/{id}/**", ("id",)), ("/{a=x/*/y}/{b}.txt", ("a", "b")), ("/*", ()), ("/pre{name}", ("name",))],
)
def test_a_template_has_variables(text: str, variables: tuple[str, ...]) -> None:
    assert check_template(text) == variables


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a", "begin with a slash"),
        ("/a//b", "empty segment"),
        ("/a*", "neither plain text"),
        ("/{a}/{a}", "stands twice"),
        ("/{a}/{b}/{c}/{d}/{e}/{f}", "more than 5"),
        ("/{abcdefghijklmnopq}", "not the name"),
        ("/**/*", "after \\*\\*"),
        ("/{a=}", "is empty"),
        ("/{a=*.txt}", "in the pattern of a variable"),
        ("/x{a=b/c}", "spans segments"),
    ],
)
def test_a_refusal_says_why(text: str, reason: str) -> None:
    with pytest.raises(BadTemplate, match=reason):
        check_template(text)


def test_a_rewrite_uses_variables() -> None:
    assert check_rewrite("/{b}/x{a}") == ("b", "a")
    for text in ("x", "//", "/{a", "/{a=b}", "/a b"):
        with pytest.raises(BadTemplate):
            check_rewrite(text)
