"""Access logs as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyproxy.config.access_log import (
    AccessLogConfig,
    AndFilter,
    Comparison,
    DurationFilter,
    HeaderFilter,
    LogFilter,
    NotHealthCheckFilter,
    OrFilter,
    ResponseFlagFilter,
    RuntimeFilter,
    SinkKind,
    StatusFilter,
)
from pyproxy.config.access_log_compile import DEFAULT_FORMAT, compile_access_log
from pyproxy.config.format import Format, JsonFormat, JsonObject, Operator
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.matchers import Fraction, HeaderMatch
from tests.config.compiling import URL, as_yaml, unread, view

LOG = "envoy.config.accesslog.v3.AccessLog"
FILE = f"{URL}envoy.extensions.access_loggers.file.v3.FileAccessLog"
STREAM = f"{URL}envoy.extensions.access_loggers.stream.v3"
PROTOCOL = Format((Operator("PROTOCOL"),))


def compiled(typed: dict[str, Any], **fields: Any) -> tuple[AccessLogConfig, list[str]]:
    seen = view(LOG, as_yaml({"name": "x", "typed_config": typed, **fields}))
    value = compile_access_log(seen)
    return value, unread(seen)


def to_file(**fields: Any) -> dict[str, Any]:
    return {"@type": FILE, "path": "/dev/null", **fields}


def formatted(**fields: Any) -> Format | JsonFormat:
    return compiled(to_file(log_format=fields))[0].format


def test_where_it_goes() -> None:
    assert compiled(to_file()) == (AccessLogConfig(SinkKind.FILE, "/dev/null", DEFAULT_FORMAT), [])
    assert compiled({"@type": f"{STREAM}.StdoutAccessLog"})[0].sink is SinkKind.STDOUT
    assert compiled({"@type": f"{STREAM}.StderrAccessLog"})[0].sink is SinkKind.STDERR


def test_the_default_ends_its_line() -> None:
    assert DEFAULT_FORMAT.parts[-1] == '"\n'


def test_formats(tmp_path: Path) -> None:
    file = tmp_path / "format"
    file.write_text("%PROTOCOL%")
    assert formatted(text_format="%PROTOCOL%") == PROTOCOL
    assert formatted(text_format_source={"inline_string": "%PROTOCOL%"}, omit_empty_values=True) == Format(
        PROTOCOL.parts, omit_empty=True
    )
    assert formatted(text_format_source={"filename": str(file)}) == PROTOCOL
    assert formatted(json_format={"b": "%PROTOCOL%", "a": "x"}, omit_empty_values=True) == JsonFormat(
        JsonObject((("a", "x"), ("b", PROTOCOL))), omit_empty=True
    )
    assert compiled(to_file(format="%PROTOCOL%"))[0].format == PROTOCOL
    assert compiled(to_file(format=""))[0].format == DEFAULT_FORMAT
    for field in ("json_format", "typed_json_format"):
        assert compiled(to_file(**{field: {"a": 1}}))[0].format == JsonFormat(JsonObject((("a", 1),)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            {"status_code_filter": {"comparison": {"op": "NE", "value": {"default_value": 4, "runtime_key": "k"}}}},
            StatusFilter(Comparison.NE, 4, "k"),
        ),
        (
            {"duration_filter": {"comparison": {"op": "GE", "value": {"default_value": 5}}}},
            DurationFilter(Comparison.GE, 5),
        ),
        ({"not_health_check_filter": {}}, NotHealthCheckFilter()),
        ({"response_flag_filter": {}}, ResponseFlagFilter()),
        ({"response_flag_filter": {"flags": ["NR"]}}, ResponseFlagFilter(frozenset(("NR",)))),
        ({"header_filter": {"header": {"name": "X"}}}, HeaderFilter(HeaderMatch(b"x", present=True))),
        ({"runtime_filter": {"runtime_key": "k"}}, RuntimeFilter(Fraction(0, 100, "k"))),
        (
            {
                "runtime_filter": {
                    "runtime_key": "k",
                    "percent_sampled": {"numerator": 1, "denominator": "TEN_THOUSAND"},
                    "use_independent_randomness": True,
                }
            },
            RuntimeFilter(Fraction(1, 10_000, "k"), independent=True),
        ),
        (
            {"and_filter": {"filters": [{"not_health_check_filter": {}}, {"or_filter": {"filters": []}}]}},
            AndFilter((NotHealthCheckFilter(), OrFilter(()))),
        ),
    ],
)
def test_filters(text: dict[str, Any], value: LogFilter) -> None:
    log, listed = compiled(to_file(), filter=text)
    assert (log.filter, listed) == (value, [])


@pytest.mark.parametrize(
    ("typed", "fields", "reason"),
    [
        ({"@type": f"{URL}envoy.config.core.v3.Locality"}, {}, "the access logger 'x' of type envoy.config.core"),
        (to_file(path="/nope/x"), {}, "there is no directory /nope"),
        (to_file(log_format={"text_format": "%PROTOCL%"}), {}, "did you mean 'PROTOCOL'"),
        (to_file(log_format={"json_format": {"a": {"b": ["%X%"]}}}), {}, "unknown operator %X%"),
        (to_file(log_format={"text_format": "", "formatters": [{"name": "f"}]}), {}, "formatter extensions are not"),
        (to_file(log_format={"text_format_source": {"filename": "/nope"}}), {}, "the file /nope cannot be read"),
        (to_file(), {"filter": {"traceable_filter": {}}}, "traceable_filter is not supported yet"),
        (to_file(), {"filter": {"response_flag_filter": {"flags": ["NRR"]}}}, "unknown response flag 'NRR'"),
    ],
)
def test_faults(typed: dict[str, Any], fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidConfig) as raised:
        compiled(typed, **fields)
    assert reason in str(raised.value)


def test_a_name_alone_chooses_nothing() -> None:
    with pytest.raises(InvalidConfig, match="has none"):
        compile_access_log(view(LOG, "name: envoy.access_loggers.file"))
