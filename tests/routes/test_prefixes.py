"""Sets of prefixes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyproxy.routes.prefixes import PrefixSet

TEXTS = st.lists(st.sampled_from(["/", "a", "b", "é", "\xff"]), max_size=6).map(lambda parts: "".join(parts).encode())


@given(st.sets(TEXTS, max_size=20), TEXTS)
def test_a_prefix_set_gives_all_prefixes_longest_first(keys: set[bytes], text: bytes) -> None:
    expected = sorted((key for key in keys if text.startswith(key)), key=len, reverse=True)
    assert list(PrefixSet(keys).of(text)) == expected
