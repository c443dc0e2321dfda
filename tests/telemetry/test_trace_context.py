"""Contexts of traces in headers: what is read, what is refused, what is written."""

from __future__ import annotations

import pytest

from pyproxy.config.tracing import Propagation
from pyproxy.http.message import Headers
from pyproxy.telemetry.trace_context import BadContext, Identity, extract, inject

TRACE, SPAN, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "05e3ac9a4f6e3b90"
W3C, B3, MULTI = Propagation.W3C, Propagation.B3, Propagation.B3_MULTI


def headers(**values: str) -> Headers:
    return Headers([(name.replace("_", "-").encode(), value.encode()) for name, value in values.items()])


@pytest.mark.parametrize(
    ("way", "given", "wanted"),
    [
        (W3C, {}, None),
        (W3C, {"traceparent": f"00-{TRACE}-{SPAN}-01"}, (TRACE, SPAN, "", True)),
        (W3C, {"traceparent": f"00-{TRACE}-{SPAN}-00"}, (TRACE, SPAN, "", False)),
        (W3C, {"traceparent": f"01-{TRACE}-{SPAN}-03"}, (TRACE, SPAN, "", True)),
        (W3C, {"traceparent": f"00-{TRACE}-{SPAN}-02"}, (TRACE, SPAN, "", False)),
        (B3, {"traceparent": f"00-{TRACE}-{SPAN}-01"}, None),
        (B3, {"b3": f"{TRACE}-{SPAN}"}, (TRACE, SPAN, "", None)),
        (B3, {"b3": f"{TRACE}-{SPAN}-1-{ABOVE}"}, (TRACE, SPAN, ABOVE, True)),
        (B3, {"b3": f"{TRACE[16:]}-{SPAN}-d"}, (TRACE[16:], SPAN, "", True)),
        (B3, {"b3": f"{TRACE.upper()}-{SPAN}-0"}, (TRACE, SPAN, "", False)),
        (B3, {"b3": "0"}, ("", "", "", False)),
        (B3, {"b3": "d"}, ("", "", "", True)),
        (MULTI, {"x_b3_traceid": TRACE, "x_b3_spanid": SPAN}, (TRACE, SPAN, "", None)),
        (MULTI, {"x_b3_traceid": TRACE, "x_b3_spanid": SPAN, "x_b3_sampled": "true"}, (TRACE, SPAN, "", True)),
        (MULTI, {"x_b3_traceid": TRACE, "x_b3_spanid": SPAN, "x_b3_flags": "1"}, (TRACE, SPAN, "", True)),
        (
            MULTI,
            {"x_b3_traceid": TRACE, "x_b3_spanid": SPAN, "x_b3_parentspanid": ABOVE, "x_b3_sampled": "0"},
            (TRACE, SPAN, ABOVE, False),
        ),
        (MULTI, {"x_b3_sampled": "0"}, ("", "", "", False)),
        (MULTI, {"x_b3_traceid": TRACE}, None),
        (Propagation.ZIPKIN_W3C, {"traceparent": f"00-{TRACE}-{SPAN}-01"}, (TRACE, SPAN, "", True)),
    ],
)
def test_reads(way: Propagation, given: dict[str, str], wanted: tuple[str, str, str, bool | None] | None) -> None:
    parent = extract(headers(**given), (way,))
    assert (None if parent is None else (parent.trace_id, parent.span_id, parent.parent_id, parent.sampled)) == wanted


@pytest.mark.parametrize(
    ("way", "given"),
    [
        (W3C, {"traceparent": "bad"}),
        (W3C, {"traceparent": f"00-{TRACE}-{SPAN}"}),
        (W3C, {"traceparent": f"00-{TRACE}-{SPAN}-01-more"}),
        (W3C, {"traceparent": f"ff-{TRACE}-{SPAN}-01"}),
        (W3C, {"traceparent": f"00-{'0' * 32}-{SPAN}-01"}),
        (W3C, {"traceparent": f"00-{TRACE}-{'0' * 16}-01"}),
        (W3C, {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"}),
        (W3C, {"traceparent": f"00-{TRACE[:-1]}\u0661-{SPAN}-01"}),
        (B3, {"b3": "bad"}),
        (B3, {"b3": f"{TRACE}-{SPAN}-2"}),
        (MULTI, {"x_b3_traceid": "0x12", "x_b3_spanid": SPAN}),
        (MULTI, {"x_b3_traceid": TRACE, "x_b3_spanid": "1_2"}),
        (MULTI, {"x_b3_traceid": TRACE, "x_b3_spanid": SPAN, "x_b3_parentspanid": "x"}),
    ],
)
def test_refuses(way: Propagation, given: dict[str, str]) -> None:
    with pytest.raises(BadContext):
        extract(headers(**given), (way,))


def test_the_first_way_that_finds_something_is_taken() -> None:
    given = headers(traceparent=f"00-{TRACE}-{SPAN}-01", b3=f"{TRACE}-{ABOVE}-1")
    found = [extract(given, ways) for ways in ((W3C, B3), (B3, W3C))]
    assert [parent and parent.span_id for parent in found] == [SPAN, ABOVE]


def test_the_state_goes_along() -> None:
    given = headers(traceparent=f"00-{TRACE}-{SPAN}-01", tracestate="a=b")
    given.add(b"tracestate", b"c=d")
    parent = extract(given, (W3C,))
    assert parent is not None
    assert parent.state == b"a=b,c=d"


@pytest.mark.parametrize(
    ("ways", "single", "written"),
    [
        ((W3C,), False, {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "s=1"}),
        ((B3,), False, {"b3": f"{TRACE}-{SPAN}-1-{ABOVE}"}),
        (
            (MULTI,),
            False,
            {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-parentspanid": ABOVE, "x-b3-sampled": "1"},
        ),
        ((Propagation.ZIPKIN,), True, {"b3": f"{TRACE}-{SPAN}-1-{ABOVE}"}),
        (
            (W3C, B3),
            False,
            {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "s=1", "b3": f"{TRACE}-{SPAN}-1-{ABOVE}"},
        ),
    ],
)
def test_writes(ways: tuple[Propagation, ...], single: bool, written: dict[str, str]) -> None:
    identity = Identity(TRACE, SPAN, ABOVE, True)
    identity.state, identity.single = b"s=1", single
    target = headers(traceparent="old", b3="old") if "b3" in written and "traceparent" in written else Headers()
    inject(target, identity, ways)
    assert {name.decode(): value.decode() for name, value in target} == written
    again = extract(target, ways)
    assert again is not None
    assert (again.trace_id, again.span_id, again.sampled) == (TRACE, SPAN, True)


def test_a_short_trace_id_is_filled_up_for_w3c() -> None:
    target = Headers()
    inject(target, Identity(SPAN, ABOVE, "", False), (Propagation.ZIPKIN_W3C,))
    assert target.get(b"traceparent") == f"00-{'0' * 16}{SPAN}-{ABOVE}-00".encode()
    assert target.get(b"x-b3-sampled") == b"0"
