"""`pyproxy compat --table DIR`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyproxy.server import compat

FILES = {
    "one/good.yaml": "name: a\nconnect_timeout: 1s\n",
    "one/bad.json": '[{"name": "a", "connect_timeout": "1s"}, {"name": "b", "connect_timeout": "-1s"}]',
    "one/fields.yaml": "name: a\nconnect_timeout: 1s\nconnection_pool_per_downstream_connection: true\n",
    "two/deep/template.tmpl": "a: {{ .Port }}\n",
    "two/pod.yaml": "kind: Pod\n",
    "two/node.yaml": '{"@type": type.googleapis.com/envoy.config.core.v3.Node}\n',
    "two/README.md": "nothing\n",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_file_has_its_line(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compat.main(["--table", str(directory)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| good.yaml | cluster | loads |" in lines
    bad = next(line for line in lines if line.startswith("| bad.json"))
    assert bad.startswith("| bad.json | 2 clusters | refused 1 of 2: connect_timeout is -1s")
    fields = next(line for line in lines if line.startswith("| fields.yaml"))
    assert "not honoured: **cluster.v3.Cluster.connection_pool_per_downstream_connection**" in fields
    assert "| deep/template.tmpl |  | (a template) |" in lines
    assert "| pod.yaml |  | (no configuration of Envoy's) |" in lines
    assert "| node.yaml | core.v3.Node | (cannot be looked at by itself) |" in lines
    assert "| one | 3 | 0 | 4 | 3 | 2 | 1 |" in lines
    assert "| all | 6 | 3 | 4 | 3 | 2 | 1 |" in lines
    assert not any("README" in line for line in lines)


@pytest.mark.parametrize("words", [[], ["/none"], [".", "."]])
def test_it_has_to_be_a_directory(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert compat.main(["--table", *words]) == 2
    assert "which directory?" in capsys.readouterr().err
