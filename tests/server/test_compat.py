"""`pyproxy compat FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyproxy.server import compat
from tests.server.test_configuration import GOOD

SEVERE = GOOD.replace("    type: STATIC\n", "    type: STATIC\n    connection_pool_per_downstream_connection: true\n")
HARMLESS = GOOD + "stats_sinks: []\nstats_flush_on_admin: true\n"


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "envoy.yaml"
    path.write_text(text, "utf-8")
    return str(path)


def test_nothing_to_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, GOOD)
    assert compat.main([path]) == 0
    assert capsys.readouterr().out == f"{path}: every field is honoured\n"


def test_a_severe_field_makes_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, SEVERE)
    assert compat.main([path]) == 1
    field, total = capsys.readouterr().out.splitlines()
    assert field == (
        f"{path}:24:5: severe: static_resources.clusters[0].connection_pool_per_downstream_connection"
        " (envoy.config.cluster.v3.Cluster.connection_pool_per_downstream_connection) is not honoured"
    )
    assert total == f"{path}: 1 field is not honoured: 1 severe, 0 harmless"


def test_harmless_fields_are_only_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compat.main([write(tmp_path, HARMLESS)]) == 0
    assert ":27:1: harmless: stats_flush_on_admin (" in capsys.readouterr().out


def test_programs_get_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, SEVERE)
    assert compat.main(["--json", path]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "file": path,
        "valid": True,
        "severe": 1,
        "harmless": 0,
        "unhonoured": [
            {
                "file": path,
                "line": 24,
                "column": 5,
                "path": "static_resources.clusters[0].connection_pool_per_downstream_connection",
                "field": "envoy.config.cluster.v3.Cluster.connection_pool_per_downstream_connection",
                "effect": "severe",
            }
        ],
    }


def test_an_invalid_file_tells_its_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "foo: 1\n")
    assert compat.main([path]) == 1
    assert capsys.readouterr().err.startswith(f"{path}:1:1: foo: unknown field 'foo'")
    assert compat.main([path, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is False
    assert [(fault["line"], fault["path"]) for fault in document["faults"]] == [(1, "foo")]


def test_a_text_may_be_merged_over_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compat.main(["--config-yaml", "stats_flush_on_admin: true", write(tmp_path, GOOD)]) == 0
    assert "--config-yaml:1:1: harmless: stats_flush_on_admin" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--json"], ["a.yaml", "b.yaml"], ["a.yaml", "--bogus"], ["a.yaml", "-c", "b"]])
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert compat.main(words) == 2
    assert "usage: pyproxy compat FILE" in capsys.readouterr().err


def test_help_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert compat.main(["--help"]) == 0
    assert "Exit code:" in capsys.readouterr().out
