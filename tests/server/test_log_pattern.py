from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading

import pytest

from pyproxy.server.log_components import TRACE, component_of, level_number
from pyproxy.server.log_pattern import DEFAULT_PATTERN, compile_json, compile_pattern


def record(
    message: str = "hello", level: int = logging.INFO, name: str = "pyproxy.clusters.manager"
) -> logging.LogRecord:
    made = logging.LogRecord(name, level, __file__, 12, message, (), None, "caller")
    made.created = 1700000000.123456
    return made


@pytest.mark.parametrize(
    ("pattern", "rendered"),
    [
        ("%v", "hello"),
        ("%l", "info"),
        ("%L", "I"),
        ("%n", "upstream"),
        ("%%", "%"),
        ("100%% %v", "100% hello"),
        ("%e", "123"),
        ("%f", "123456"),
        ("%E", "1700000000"),
        ("%s:%#", "test_log_pattern.py:12"),
        ("%!", "caller"),
        ("[%8l]", "[    info]"),
        ("[%-8l]", "[info    ]"),
        ("[%=8l]", "[  info  ]"),
        ("[%2!l]", "[in]"),
        ("%q", "%q"),
        ("trailing %", "trailing %"),
    ],
)  # fmt: skip
def test_directives(pattern: str, rendered: str) -> None:
    assert compile_pattern(pattern)(record()) == rendered


def test_process_and_thread() -> None:
    assert compile_pattern("%P %t")(record()) == f"{os.getpid()} {threading.get_native_id()}"


def test_the_default_is_envoys() -> None:
    line = compile_pattern(DEFAULT_PATTERN)(record())
    assert re.fullmatch(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.123\]\[\d+\]\[info\]\[upstream\] "
        r"\[\S*tests/server/test_log_pattern\.py:12\] hello",
        line,
    )


@pytest.mark.parametrize(
    ("level", "name"),
    [(TRACE, "trace"), (10, "debug"), (20, "info"), (30, "warning"), (40, "error"), (50, "critical"), (3, "trace")],
)
def test_level_names_are_envoys(level: int, name: str) -> None:
    assert compile_pattern("%l")(record(level=level)) == name


def test_a_message_of_several_lines_can_be_kept_in_one() -> None:
    many = record('one\n"two"')
    assert compile_pattern("%v")(many) == 'one\n"two"'
    assert compile_pattern("%_")(many) == 'one\\n"two"'
    assert json.loads(f'"{compile_pattern("%j")(many)}"') == 'one\n"two"'


def test_an_exception_is_part_of_the_message() -> None:
    made = record()
    try:
        raise ValueError("broken")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert compile_pattern("%v")(made).endswith("ValueError: broken")


def test_json_lines() -> None:
    line = compile_json({"level": "%l", "msg": "%v", "where": "%s:%#"})(record('say "hi"\n'))
    assert json.loads(line) == {"level": "info", "msg": 'say "hi"\n', "where": "test_log_pattern.py:12"}


@pytest.mark.parametrize(
    ("module", "component"),
    [
        ("pyproxy.server.supervisor", "main"),
        ("pyproxy.server.admin.server", "admin"),
        ("pyproxy.clusters.conn_pool", "pool"),
        ("pyproxy.filters.http.router.router", "router"),
        ("pyproxy.filters.http.fault", "filter"),
        ("aiohttp.server", "misc"),
        ("somewhere.else", "misc"),
    ],
)
def test_a_module_speaks_under_the_nearest_component(module: str, component: str) -> None:
    assert component_of(module) == component


def test_levels_by_name() -> None:
    assert level_number("warn") == level_number("warning") == logging.WARNING
    with pytest.raises(KeyError):
        level_number("loud")
