"""Requests go where the example says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from string import Template

import pytest

from examples.failover.regions import ZONES
from examples.failover.story import SCENES, Outcome
from pyproxy.server.compat import main as compat
from tests.examples.test_demo import LONGEST, assert_nothing_is_left
from tests.support.process import ROOT


def test_all_of_its_configuration_is_honoured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["gateway", *(node.key for zone in ZONES for node in zone.hosts)]
    text = (ROOT / "examples" / "failover" / "failover.yaml").read_text()
    file = tmp_path / "failover.yaml"
    file.write_text(Template(text).substitute({name: 1000 + at for at, name in enumerate(names)}))
    assert compat([str(file)]) == 0
    assert "every field is honoured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scene", "shares", "good"),
    [
        (0, {"eu-a": 0.7, "eu-b": 0.3}, True),
        (0, {"eu-a": 0.5, "eu-b": 0.5}, False),
        (1, {"eu-a": 0.6, "eu-b": 0.4}, True),
        (1, {"eu-a": 0.6, "eu-b": 0.3, "us-a": 0.1}, False),
        (2, {"us-a": 0.9, "eu-a": 0.1}, True),
        (3, {"ap-a": 0.5, "us-a": 0.5}, False),
        (4, {}, False),
    ],
)
def test_what_is_good(scene: int, shares: dict[str, float], good: bool) -> None:
    assert Outcome(SCENES[scene], shares, 1.0).good is good


@pytest.mark.slow
@pytest.mark.timeout(LONGEST)
@pytest.mark.xdist_group("mesh")
def test_two_regions_fail_and_no_request_does(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.failover", "--for", "5s"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("as it should be: ") == len(SCENES)
    assert "errors: 0" in done.stdout
    assert_nothing_is_left(tmp_path)
