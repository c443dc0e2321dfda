from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyproxy.telemetry.shared_layout import Kind, Record, pack, unpack

u32 = st.integers(0, 2**32 - 1)
texts = st.text(max_size=40)
records = st.one_of(
    st.builds(Record, st.sampled_from([Kind.COUNTER, Kind.SCOPE, Kind.BIN]), texts, u32, u32, u32, st.just("")),
    st.builds(
        lambda kind, text, a, payload: Record(kind, text, a, 0, len(payload.encode()), payload),
        st.sampled_from([Kind.TABLE, Kind.TEXT]),
        texts,
        u32,
        texts,
    ),
)


@given(st.lists(records))
def test_a_directory_reads_as_it_was_written(wanted: list[Record]) -> None:
    packed = [pack(one.kind, one.text, one.a, one.b, one.c, one.payload.encode()) for one in wanted]
    assert all(len(one) % 8 == 0 for one in packed)
    assert list(unpack(b"".join(packed))) == wanted
