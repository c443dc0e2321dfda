from __future__ import annotations

import pytest

from pyproxy.xds_client.version_hash import signed, xxh64


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        # As Envoy 1.40 shows them for these versions.
        (b"e3", 12567011878008098785),
        (b"l1", 4970902557933517970),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_known_values(data: bytes, value: int) -> None:
    assert xxh64(data) == value


def test_signed_keeps_the_bits() -> None:
    assert signed(5) == 5
    assert signed(0xFFFFFFFFFFFFFFFF) == -1
