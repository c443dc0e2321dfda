from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pyproxy.server.cli import main


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    file = tmp_path / "mesh.yaml"
    file.write_text("mtls: true\nservices: {web: {instances: [127.0.0.1:1]}}")
    return file


def test_a_file_is_checked(mesh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["control-plane", "--config", str(mesh), "--check"]) == 0
    assert capsys.readouterr().out == f"{mesh}: OK\n"
    mesh.write_text("services: {web: {timeot: 1s}}")
    assert main(["control-plane", "--config", str(mesh), "--check"]) == 1
    assert f"{mesh}:1:18: services.web.timeot: unknown field 'timeot'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--config is needed"),
        (["--config", "x", "y"], "--config is needed"),
        (["--config", "x", "--xds", "1"], "expected HOST:PORT"),
        (["--confg", "x"], "did you mean '--config'"),
    ],
)
def test_wrong_usage(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["control-plane", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["control-plane", "--config", "/nowhere"]) == 1
    assert "/nowhere" in capsys.readouterr().err


def test_it_runs_until_it_is_told_to_stop(mesh: Path) -> None:
    command = [sys.executable, "-m", "pyproxy", "control-plane", "--config", str(mesh)]
    with subprocess.Popen(
        [*command, "--xds", "127.0.0.1:0", "--admin", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = re.search(r"http://\S+", process.stdout.readline())
        assert url is not None
        with urllib.request.urlopen(url[0]) as answer:
            assert b'"web"' in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
