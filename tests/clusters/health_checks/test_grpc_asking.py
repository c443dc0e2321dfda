from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.health_checks.grpc_asking import serving_status


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"", 0),
        (b"\x08\x01", 1),
        (b"\x08\x02", 2),
        (b"\x08\x81\x00", 1),
        (b"\x08\x02\x08\x01", 1),
        (b"\x12\x03abc\x08\x01", 1),
        (b"\x15abcd\x08\x01", 1),
        (b"\x11abcdefgh\x08\x01", 1),
        (b"\x08", -1),
        (b"\x12\x09abc", -1),
        (b"\x0b\x08\x01", -1),
    ],
)
def test_the_status_of_a_response(message: bytes, status: int) -> None:
    assert serving_status(message) == status


@given(st.binary(max_size=40))
def test_any_bytes_are_read_to_an_end(message: bytes) -> None:
    assert serving_status(message) >= -1
