"""Log lines written in C: the same as those of the Python that they are made from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.config.format import parse_json_format
from pyproxy.http.message import Headers
from pyproxy.telemetry import formatter_json, formatter_steps
from pyproxy.telemetry.formatter_source import Formatter
from tests.telemetry.exchanges import forwarded

if formatter_steps.LineWriter is None:
    pytest.skip("built without Cython or a C compiler", allow_module_level=True)

FIELDS: dict[str, Any] = {
    "agent": "%REQ(user-agent)%",
    "authority": "%REQ(:authority)%",
    "bytes": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "flags": "%RESPONSE_FLAGS%",
    "host": "%UPSTREAM_HOST%",
    "id": "%REQ(x-request-id)%",
    "local": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "metadata": "%METADATA(ROUTE:ns:k)%",
    "path": "%REQ(x-envoy-original-path?:path)%",
    "server": "%RESP(server)%",
    "start": "%START_TIME%",
    "two": "%PROTOCOL% %RESPONSE_CODE%",
    "cluster": "%UPSTREAM_CLUSTER%",
}
NAMES = st.sampled_from([b"user-agent", b"x-request-id", b"x-envoy-original-path", b"server"])
VALUES = st.sampled_from([b"", b"a", b"\xff", "é".encode(), b'"', b"0123456789" * 40])
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4)


def both(monkeypatch: pytest.MonkeyPatch) -> tuple[Formatter, Formatter]:
    made = formatter_json.build_json(parse_json_format(FIELDS, omit_empty=False))
    with monkeypatch.context() as patch:
        patch.setattr(formatter_steps, "LineWriter", None)
        return made, formatter_json.build_json(parse_json_format(FIELDS, omit_empty=False))


def test_most_of_a_line_is_written_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    made = formatter_steps.LineWriter
    assert made is not None
    monkeypatch.setattr(formatter_steps, "LineWriter", lambda steps, whole: seen.extend(steps) or made(steps, whole))
    formatter_json.build_json(parse_json_format(FIELDS, omit_empty=False))
    assert sum(callable(step[1]) and len(step) == 2 for step in seen) <= 3  # the duration, and what stays Python


@given(sent=HEADERS, received=HEADERS, answered=st.booleans(), wall=st.floats(1.0, 4e9), took=st.floats(0, 1e6))
def test_both_write_the_same(
    sent: list[tuple[bytes, bytes]], received: list[tuple[bytes, bytes]], answered: bool, wall: float, took: float
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        native, python = both(monkeypatch)
    request, response = forwarded()
    request.headers, response.headers = Headers(sent), Headers(received)
    info = request.info
    info.start_wall, info.end = wall, info.start + took
    given = response if answered else None
    for _ in range(2):
        assert native(request, given) == python(request, given)
