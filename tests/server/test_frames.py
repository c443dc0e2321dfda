from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyproxy.server.frames import FRAME_LIMIT, Assembler, Envelope, Kind, encode

ENVELOPES = st.builds(
    Envelope,
    st.sampled_from(Kind),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ENVELOPES, max_size=8))
def test_messages_come_out_as_they_went_in(envelopes: list[Envelope]) -> None:
    assembler = Assembler()
    frames = [frame for envelope in envelopes for frame in encode(envelope)]
    assert [done for frame in frames if (done := assembler.feed(frame)) is not None] == envelopes


def test_a_large_message_is_cut_into_frames_that_fit() -> None:
    envelope = Envelope(Kind.REPLY, 1, 2, ["x" * 1000] * 1000)
    frames = encode(envelope)
    assert len(frames) > 10
    assert max(map(len, frames)) <= FRAME_LIMIT
    assembler = Assembler()
    assert [assembler.feed(frame) for frame in frames][-1] == envelope


def test_what_a_killed_process_left_unfinished_is_dropped() -> None:
    assembler = Assembler()
    half = encode(Envelope(Kind.REPLY, 1, 2, "x" * 200_000))[:-1]
    whole = Envelope(Kind.REPLY, 9, 1, "whole")
    assert all(assembler.feed(frame) is None for frame in half)
    assert assembler.feed(encode(whole)[0]) == whole


def test_a_frame_shorter_than_its_header_is_refused() -> None:
    with pytest.raises(ValueError, match="header"):
        Assembler().feed(b"abc")
