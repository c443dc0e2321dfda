"""The choice among weighted clusters (envoy.config.route.v3.WeightedCluster)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random

from pyproxy.config.route import ForwardAction
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Request
from pyproxy.routes.random_value import FRACTION_BITS, random_value
from pyproxy.routes.target import NO_TARGET, Target

Resolve = Callable[[Request], Target]

_NUMBER = re.compile(rb"\+?[0-9]{1,20}")
_UINT64 = 1 << 64


def build_weighted(action: ForwardAction, members: Sequence[Resolve], values: RuntimeValues, rng: Random) -> Resolve:
    """A function that chooses one of `members`, which stand for the weighted clusters in their order.

    Runtime weights (`<prefix>.<cluster>`) replace those of the configuration, and their sum the total. A number in the
    header that the action names replaces chance, so that a client can stay with its choice.
    """
    prefix = action.weighted_runtime_prefix
    weights = [
        max(0, int(values.number(f"{prefix}.{one.name}", one.weight))) if prefix else one.weight
        for one in action.weighted
    ]
    edges = list(accumulate(weights))
    total = edges[-1] if edges else 0
    if not total:
        return lambda request: NO_TARGET
    header = action.weighted_random_header
    if not header:

        def choose(request: Request) -> Target:
            return members[bisect_right(edges, (random_value(request, rng) >> FRACTION_BITS) % total)](request)

        return choose

    def choose_by_header(request: Request) -> Target:
        value = _number(request.headers.get(header))
        if value is None:
            value = random_value(request, rng) >> FRACTION_BITS
        return members[bisect_right(edges, value % total)](request)

    return choose_by_header


def _number(text: bytes | None) -> int | None:
    if text is None or _NUMBER.fullmatch(text) is None:
        return None
    value = int(text)
    return value if value < _UINT64 else None
