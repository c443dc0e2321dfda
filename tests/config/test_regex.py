"""Regular expressions mean what RE2 makes of them, and no text can make them slow.

What is accepted and refused is compared with Envoy in test_compile_verdicts.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyproxy.config.regex import BadRegex, build_rewrite, check_regex, check_substitution, compile_regex
from pyproxy.config.regex_cost import is_linear
from pyproxy.config.regex_program import Automaton, Program, find
from pyproxy.config.regex_syntax import parse


@pytest.mark.parametrize(
    ("pattern", "fits", "differs"),
    [
        ("/api/v[0-9]+/.*", ["/api/v1/", "/api/v12/x/y"], ["/api/v/x", "/api/v1", "x/api/v1/"]),
        ("^/(foo|bar)/.*$", ["/foo/", "/bar/x"], ["/baz/", "/foo"]),
        ("a$", ["a"], ["a\n"]),  # the end of a text, not the line before it
        ("(?m)a$\n", ["a\n"], ["a"]),
        (".", ["a", "é", "\u20ac", "\U0001f600"], ["\n", "", "ab"]),
        ("(?s).", ["\n"], [""]),
        ("..", ["éü"], ["é"]),
        ("[^a]", ["é", "\n"], ["a"]),
        ("a{,3}", ["a{,3}"], ["a", "aaa"]),
        (r"\d+", ["09"], ["\u0661"]),  # only ASCII digits
        (r"\w", ["_"], ["é"]),
        (r"\W", ["é"], ["_"]),
        (r"\s", ["\t", " "], ["\v", "\u00a0"]),
        (r"[[:space:]]", ["\v"], ["a"]),
        (r"\pL\p{Lu}\PN", ["éÜx"], ["éü1", "1Ux"]),
        ("(?i)k", ["k", "K", "\u212a"], ["l"]),
        ("(?i)[^k]", ["l"], ["k", "K", "\u212a"]),
        ("a(?i)b|c", ["ab", "aB", "C"], ["Ab"]),
        ("(?i:a)b", ["Ab"], ["AB"]),
        (r"\Qa.b\E*", ["a.bb", "a."], ["axb"]),
        (r"\x41\x{20ac}\101", ["A\u20acA"], ["A"]),
        (r"a\z", ["a"], ["a\n"]),
        (r"\Ba", [], ["a"]),
        (r"\B", [""], ["a"]),
        (r"x\b.\by", ["x y", "x-y"], ["xzy"]),
        ("(a|b)*abb", ["abb", "babababb"], ["ab"]),
        ("(?:é|ü)+", ["éü"], ["e"]),
        (r"\C\C", ["é", "ab"], ["a"]),
    ],
)
def test_a_pattern_fits_whole_texts(pattern: str, fits: list[str], differs: list[str]) -> None:
    matches = compile_regex(pattern).matches
    assert [text for text in fits if not matches(text.encode())] == []
    assert [text for text in differs if matches(text.encode())] == []


def test_bytes_that_are_not_utf_8_are_no_characters() -> None:
    assert not compile_regex(".*").matches(b"\xff")
    assert not compile_regex("[^a]").matches(b"\xc3")
    assert compile_regex(r"\C").matches(b"\xff")


@pytest.mark.parametrize(
    ("pattern", "safe"),
    [
        ("/a.*", True),
        ("/api/v[0-9]+/.*", True),
        (".*\\.svc\\..*", True),
        ("[^/]+/x", True),
        ("/[a-z]+(/[0-9]{1,3})?", True),
        (".*foo.*bar", False),
        (".*x.*y", False),
        ("(a|a)*b", False),
        ("(a*)*b", False),
        ("(/[a-z]+)*", False),
        (".*[a-z]+x", False),
        ("[a-z]{1,50}[a-z]{1,50}x", False),
    ],
)
def test_only_patterns_that_cannot_be_slow_run_on_backtracking(pattern: str, safe: bool) -> None:
    assert is_linear(parse(pattern)[0], search=False) is safe


def test_a_search_is_itself_a_loop() -> None:
    tree, _ = parse("a+b")
    assert is_linear(tree, search=False)
    assert not is_linear(tree, search=True)
    assert is_linear(parse("^a+b")[0], search=True)
    assert is_linear(parse("/+")[0], search=True)


@pytest.mark.parametrize(
    "pattern", ["(a|a)*b", "(a*)*b", "(a+)+b", ".*a.*b", "(.*a){12}b", "(a|aa)+b", "a?" * 30 + "a" * 30]
)
def test_no_text_makes_a_pattern_slow(pattern: str) -> None:
    """With backtracking each of these would take longer than this machine lasts, or at least minutes."""
    assert not compile_regex(pattern).matches(b"a" * 60_000)
    assert build_rewrite(pattern, "x")(b"a" * 300 + b"!")[-1:] == b"!"


def test_an_automaton_does_not_grow_without_end() -> None:
    automaton = Automaton(Program(*parse("(a|b)*a(a|b){12}c")))
    text = bytes(97 + (one * one // 7) % 2 for one in range(20_000))
    assert not automaton.matches(text)
    assert automaton.matches(b"ab" * 1000 + b"a" + b"b" * 12 + b"c")
    assert len(automaton._rows) <= 500


@pytest.mark.parametrize(
    ("pattern", "substitution", "text", "result"),
    [
        # Compared with Envoy's redirects by regex_rewrite.
        ("((([ b])?|a?))*", r"<\0>", "/aab", "<>/<>a<>a<b>"),
        ("(|a)*", r"<\0>", "/aab", "<>/<>a<>a<>b<>"),
        ("x*", "-", "/abxd", "-/-a-b-d-"),
        ("^/a", r"\\x", "/aab", r"\xab"),
        ("a", r"\1", "/aab", "/aab"),
        ("a", r"\x", "/aab", "/b"),
        ("a", "\\", "/aab", "/b"),
        ("(a)(b)?", r"[\2\1]", "/aab", "/[a][ba]"),
        ("$", "-", "/ab", "/ab-"),
        (r"\b", "-", "/ab/c", "/-ab-/-c-"),
        ("a(?i)B|c", "X", "/aB/ab/C/c", "/X/X/X/X"),
        ("/a(.*)b", r"\1", "/aXbYb", "XbY"),
        ("(a*)(b*?)", r"<\1|\2>", "/aabb", "<|>/<aa|>b<|>b<|>"),
        ("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
        (".", "x", "é", "x"),
        ("", "-", "é", "-é-"),
    ],
)
def test_every_match_is_replaced_as_re2_does(pattern: str, substitution: str, text: str, result: str) -> None:
    assert build_rewrite(pattern, substitution)(text.encode()).decode() == result


@pytest.mark.parametrize(
    ("pattern", "substitution", "wrong"),
    [("(a)", r"\1\\", False), ("a", r"\1", True), ("a", r"\x", True), ("a", "\\", True), ("a", "plain", False)],
)
def test_a_mistaken_substitution_is_told(pattern: str, substitution: str, wrong: bool) -> None:
    assert bool(check_substitution(pattern, substitution)) is wrong


@pytest.mark.parametrize(
    ("pattern", "reason", "expected"),
    [
        ("a(?=b)", "invalid perl operator: (?=", "look-around"),
        (r"(a)\1", r"invalid escape sequence: \1", "back-references"),
        ("(a", "missing ): (a", ""),
        (r"\p{Greek}", "invalid character class range", "general category"),
        ("(?:a{100}){11}", "nested repetitions", ""),
        ("(" * 61 + ")" * 61, "nested too deeply", ""),
        ("a{1000}b{1000}c", "too large", ""),
    ],
)
def test_a_refusal_says_why(pattern: str, reason: str, expected: str) -> None:
    with pytest.raises(BadRegex) as raised:
        check_regex(pattern)
    assert reason in str(raised.value)
    assert expected in raised.value.expected


ATOMS = ["a", "b", "[ab]", "[^a]", ".", "1", r"\d", "(?:ab|b)", "(a|b)", "(?:a|)", "^", "$", r"\b"]
SIGNS = ["", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?", "{2,}"]
pieces = st.tuples(st.sampled_from(ATOMS), st.sampled_from(SIGNS)).map(lambda pair: f"(?:{pair[0]}){pair[1]}")
patterns = st.recursive(
    st.lists(pieces, min_size=1, max_size=3).map("".join),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(SIGNS[:4])).map(lambda pair: f"({pair[0]}){pair[1]}"),
    ),
    max_leaves=4,
)


@given(patterns, st.text(alphabet="ab1 c", max_size=8))
@example("(?:(?:a|))*", "a")
def test_both_engines_agree_with_re(pattern: str, text: str) -> None:
    """On ASCII, and where `$` and empty rounds are not in question, `re` means the same."""
    data = text.encode()
    tree, groups = parse(pattern)
    fits = re.compile(pattern.replace("$", r"\Z"), re.ASCII).fullmatch(text) is not None
    assert Automaton(Program(tree, groups)).matches(data) is fits
    assert compile_regex(pattern).matches(data) is fits


@given(patterns, st.text(alphabet="ab1 cé", max_size=8))
def test_both_engines_find_the_same(pattern: str, text: str) -> None:
    regex = compile_regex(pattern)
    data = text.encode()
    assert regex.find(data) == find(Program(*parse(pattern)), data, 0)


@given(st.text(alphabet="ab()[]{}*+?|\\^$.-1,iPdwpQE:<>é", max_size=20))
def test_any_text_is_a_pattern_or_is_refused(pattern: str) -> None:
    try:
        regex = compile_regex(pattern)
    except BadRegex:
        return
    regex.matches(b"aab")
    regex.matches("aéb".encode())
    regex.find(b"aab")
