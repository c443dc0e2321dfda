"""What is compiled is used: nothing may count as honoured because a compiler read it, if no live code reads the value.

A field of a value is taken to be read if live code reads an attribute of its name anywhere. That is lenient, as
names repeat, but it finds the settings that nobody looks at.
"""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from pyproxy.config import access_log, bootstrap, cluster, headers, listener, matchers, route, tls
from pyproxy.config import format as formats
from pyproxy.filters.common.rbac import config as rbac
from pyproxy.filters.http.router import config as router
from pyproxy.filters.network.http_connection_manager import config as manager
from pyproxy.filters.network.rbac import config as network_rbac

ROOT = Path(__file__).parents[2] / "pyproxy"

# Read by what stands beside the values, or without effect as long as something else is refused.
NEEDS_NO_READER: Final = {
    "Fraction.numerator": "read by RuntimeValues, which stands beside it",
    "FilterConfig.type_name": "tells people what a filter is",
    "ListenerConfig.socket_options": "read by options_at, which stands beside it",
    "CelFilter.expression": "read by its place, in a match statement",
    "Not.rule": "read by its place, in a match statement",
    "TlsSource.type_name": "read by reload_tls, which stands beside it",
    "TlsSource.spec": "read by reload_tls, which stands beside it",
    "TlsSource.static_secrets": "read by reload_tls, which stands beside it",
}


@pytest.fixture(scope="module")
def read() -> frozenset[str]:
    """The names of all attributes that live code reads. A method that is called is no value that is read."""
    names: set[str] = set()
    for file in ROOT.rglob("*.py"):
        if file.parent.name == "config" or file.stem in ("config", "compile") or file.stem.endswith("_compile"):
            continue
        nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        names.update(
            node.attr
            for node in nodes
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in called
        )
    return frozenset(names)


def fields() -> list[str]:
    modules: tuple[ModuleType, ...] = (
        *(access_log, bootstrap, cluster, formats, headers, listener, manager, matchers, network_rbac, rbac, route),
        *(router, tls),
    )
    return [
        f"{name}.{field.name}"
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
        for field in dataclasses.fields(value)
    ]


def test_every_value_has_a_reader_or_a_reason(read: frozenset[str]) -> None:
    unread = [one for one in fields() if one.partition(".")[2] not in read]
    assert [one for one in unread if one not in NEEDS_NO_READER] == []


def test_the_reasons_are_about_values_that_there_are() -> None:
    assert NEEDS_NO_READER.keys() - set(fields()) == set()
