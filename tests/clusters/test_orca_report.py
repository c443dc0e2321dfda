from __future__ import annotations

import base64
import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.orca_report import METRICS, METRICS_BIN, BadReport, LoadReport, report_of
from pyproxy.clusters.wire_fields import NotAMessage, fields_of, varint


def double(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)


def entry(number: int, key: str, value: float) -> bytes:
    inner = b"\x0a" + varint(len(key)) + key.encode() + double(2, value)
    return varint(number << 3 | 2) + varint(len(inner)) + inner


MESSAGE = double(1, 0.5) + double(6, 100.0) + double(7, 2.0) + double(9, 0.75) + entry(8, "foo", 0.25)
WHOLE = LoadReport(
    cpu_utilization=0.5, rps_fractional=100.0, eps=2.0, application_utilization=0.75, named_metrics={"foo": 0.25}
)
JSON = (
    b'{"cpu_utilization":0.5,"rpsFractional":100,"eps":2,"application_utilization":0.75,"named_metrics":{"foo":0.25}}'
)
TEXT = b"cpu_utilization=0.5, rps_fractional=100,eps=2,application_utilization=0.75,named_metrics.foo=0.25"


@pytest.mark.parametrize(
    "headers",
    [
        {METRICS: b"TEXT " + TEXT},
        {METRICS: b"JSON " + JSON},
        {METRICS: b"BIN " + base64.b64encode(MESSAGE)},
        {METRICS_BIN: base64.b64encode(MESSAGE)},
        {METRICS_BIN: base64.b64encode(MESSAGE).rstrip(b"=")},
    ],
)
def test_every_form_says_the_same(headers: dict[bytes, bytes]) -> None:
    assert report_of(headers) == WHOLE


def test_most_answers_have_none() -> None:
    assert report_of({b"content-type": b"text/plain"}) is None


@pytest.mark.parametrize(
    "said",
    [
        b"cpu_utilization=0.5",
        b"TEXT cpu_utilization",
        b"TEXT cpu_utilization=x",
        b"TEXT cpu_utilization=nan",
        b"TEXT cpu_utilization=1,cpu_utilization=2",
        b"TEXT other=1",
        b"TEXT named_metrics.=1",
        b"JSON [1]",
        b"JSON {",
        b'JSON {"cpu_utilization": "x"}',
        b'JSON {"other": 1}',
        b"BIN !",
        b"BIN " + base64.b64encode(MESSAGE[:-3]),
    ],
)
def test_nonsense_is_refused(said: bytes) -> None:
    with pytest.raises(BadReport):
        report_of({METRICS: said})


@given(st.binary(max_size=60))
def test_any_bytes_are_a_report_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadReport):
        report_of({METRICS_BIN: base64.b64encode(data)})
    with contextlib.suppress(NotAMessage):
        list(fields_of(data))


def test_the_most_of_some_metrics() -> None:
    report = LoadReport(cpu_utilization=0.5, named_metrics={"a": 0.75, "b": 0.25}, utilization={"c": 0.9})
    assert report.most(("named_metrics.b", "cpu_utilization")) == 0.5
    assert report.most(("named_metrics.*",)) == 0.75
    assert report.most(("utilization.c", "named_metrics.x", "other", "x.y")) == 0.9
    assert report.most(()) == 0.0
