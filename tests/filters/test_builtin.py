"""The table of contents: what it says of each extension is true."""

from __future__ import annotations

import importlib

import pytest

from pyproxy.config.descriptors import message_class
from pyproxy.config.extensions import Category, Extension
from pyproxy.filters.builtin import EXTENSIONS


@pytest.mark.parametrize("extension", EXTENSIONS.all, ids=lambda one: str(one.name))
def test_an_extension_has_its_message_and_its_module(extension: Extension) -> None:
    assert message_class(extension.type_name)
    module = importlib.import_module(extension.module)
    assert callable(module.compile)
    if extension.route_type:
        assert message_class(extension.route_type)
        assert callable(module.compile_route)
    assert EXTENSIONS.find(extension.category, extension.type_name) is extension
    assert EXTENSIONS.named(extension.category, extension.name) is extension


def test_names_and_types_are_unique() -> None:
    names = [(one.category, one.name) for one in EXTENSIONS.all]
    types = [(one.category, one.type_name) for one in EXTENSIONS.all]
    assert len(set(names)) == len(names)
    assert len(set(types)) == len(types)


def test_an_extension_is_found_only_where_it_may_stand() -> None:
    router = "envoy.extensions.filters.http.router.v3.Router"
    assert EXTENSIONS.find(Category.HTTP_FILTER, router) is not None
    assert EXTENSIONS.find(Category.NETWORK_FILTER, router) is None


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router"),
        ("envoy.extensions.filters.http.router.v3.Ruoter", "envoy.extensions.filters.http.router.v3.Router"),
        ("envoy.router", "envoy.extensions.filters.http.router.v3.Router"),
        ("envoy.extensions.filters.http.buffer.v3.Buffer", ""),
    ],
)
def test_the_nearest_is_told_by_its_last_word(wanted: str, nearest: str) -> None:
    assert EXTENSIONS.nearest(Category.HTTP_FILTER, wanted) == nearest
