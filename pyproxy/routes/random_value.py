"""Chance in routing: one draw a request, so that routing it again decides the same."""

from __future__ import annotations

from random import Random

from pyproxy.http.message import Request

FRACTION_BITS = 32
"""The low bits decide runtime fractions, the high ones weights: a fraction must not skew the split behind it."""


def random_value(request: Request, rng: Random) -> int:
    """The 64 random bits of a request."""
    info = request.info
    value = info.random_value
    if value < 0:
        value = info.random_value = rng.getrandbits(64)
    return value
