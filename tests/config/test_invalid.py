"""Faults as people read them."""

from __future__ import annotations

import pytest

from pyproxy.config.invalid import Fault, InvalidConfig, Path, Report, render_path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("static_resources", "listeners", 0, "name"), "static_resources.listeners[0].name"),
        (
            ("typed_per_filter_config", "envoy.filters.http.cors", "x"),
            'typed_per_filter_config["envoy.filters.http.cors"].x',
        ),
        (("typed_config", "@type"), "typed_config.@type"),
        ((), "(the whole document)"),
    ],
)
def test_paths(path: Path, text: str) -> None:
    assert render_path(path) == text


def test_one_faulty_part_does_not_hide_the_next() -> None:
    report = Report()
    for name in ("a", "b"):
        with report.isolate():
            raise InvalidConfig([Fault((name,), "is wrong")])
    with pytest.raises(InvalidConfig, match="a: is wrong\nb: is wrong"):
        report.raise_if_faulty()
