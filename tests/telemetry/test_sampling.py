"""Whether a request is traced, and how its id says so."""

from __future__ import annotations

import pytest

from pyproxy.config.matchers import Fraction
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.config.tracing import RouteTracing, SamplerConfig, SamplerKind, TracingConfig
from pyproxy.http.message import Headers
from pyproxy.telemetry.sampling import Reason, Shares, decide, mark, sample

PLAIN = b"00000000-0000-4000-8000-000000000000"
"""Its number is 0, which every share above nothing chooses."""
LAST = b"0000270f-0000-4000-8000-000000000000"
"""Its number is 9,999, which only the whole chooses."""


def shares(client: float = 100, random: float = 0, overall: float = 100, **runtime: float) -> Shares:
    percents = (
        Fraction(int(value * 100), 10_000, key) for value, key in ((client, "c"), (random, "r"), (overall, "o"))
    )
    return Shares(TracingConfig(None, *percents), RuntimeValues((runtime,)))


@pytest.mark.parametrize(
    ("request_id", "others", "chosen", "reason", "mark"),
    [
        (PLAIN, {}, shares(), Reason.NOT_TRACEABLE, b"4"),
        (PLAIN, {}, shares(random=0.01), Reason.SAMPLING, b"9"),
        (LAST, {}, shares(random=99.99), Reason.NOT_TRACEABLE, b"4"),
        (LAST, {}, shares(random=100), Reason.SAMPLING, b"9"),
        (LAST, {}, shares(random=100, overall=99.99), Reason.NOT_TRACEABLE, b"4"),
        (PLAIN, {}, shares(r=100), Reason.SAMPLING, b"9"),
        (PLAIN, {b"x-client-trace-id": b""}, shares(), Reason.CLIENT_FORCED, b"b"),
        (PLAIN, {b"x-client-trace-id": b""}, shares(client=0), Reason.NOT_TRACEABLE, b"4"),
        (PLAIN, {b"x-envoy-force-trace": b"1"}, shares(), Reason.SERVICE_FORCED, b"a"),
        (mark(PLAIN, Reason.SAMPLING), {}, shares(), Reason.SAMPLING, b"9"),
        (mark(LAST, Reason.CLIENT_FORCED), {}, shares(), Reason.CLIENT_FORCED, b"b"),
        (mark(LAST, Reason.CLIENT_FORCED), {}, shares(overall=0), Reason.NOT_TRACEABLE, b"4"),
    ],
)
def test_decides(request_id: bytes, others: dict[bytes, bytes], chosen: Shares, reason: Reason, mark: bytes) -> None:
    headers = Headers([(b"x-request-id", request_id), *others.items()])
    assert decide(headers, chosen, pack=True) is reason
    assert headers.get(b"x-request-id") == request_id[:14] + mark + request_id[15:]


@pytest.mark.parametrize("request_id", [None, b"", b"short", b"0x001234-", b"zzzzzzzz-0000-4000-8000-000000000000"])
def test_an_id_that_is_none_is_not_traced(request_id: bytes | None) -> None:
    headers = Headers([] if request_id is None else [(b"x-request-id", request_id)])
    headers.add(b"x-client-trace-id", b"1")
    assert decide(headers, shares(random=100), pack=True) is Reason.NOT_TRACEABLE


def test_an_unpacked_id_stays_as_it_is() -> None:
    headers = Headers([(b"x-request-id", PLAIN)])
    assert decide(headers, shares(random=100), pack=False) is Reason.SAMPLING
    assert headers.get(b"x-request-id") == PLAIN


def test_a_route_has_the_last_word() -> None:
    config = TracingConfig(None, random=Fraction(0, 100))
    route = RouteTracing(random=Fraction(1, 100))
    assert Shares(config, RuntimeValues(), route).random == 100
    assert Shares(config, RuntimeValues()).random == 0


@pytest.mark.parametrize(
    ("config", "parent", "sampled"),
    [
        (SamplerConfig(SamplerKind.ALWAYS_ON), None, True),
        (SamplerConfig(SamplerKind.ALWAYS_ON), False, True),
        (SamplerConfig(SamplerKind.ALWAYS_OFF), True, False),
        (SamplerConfig(SamplerKind.ALWAYS_ON, parent_based=True), False, False),
        (SamplerConfig(SamplerKind.ALWAYS_OFF, parent_based=True), True, True),
        (SamplerConfig(SamplerKind.ALWAYS_OFF, parent_based=True), None, False),
        (SamplerConfig(SamplerKind.RATIO, 1.0), None, True),
        (SamplerConfig(SamplerKind.RATIO, 0.0), None, False),
        (SamplerConfig(SamplerKind.RATIO, 0.5), None, False),
        (SamplerConfig(SamplerKind.RATIO, 0.51), None, True),
    ],
)
def test_samplers(config: SamplerConfig, parent: bool | None, sampled: bool) -> None:
    assert sample(config, 0xABC0000000000000_8000000000000000, parent) is sampled
