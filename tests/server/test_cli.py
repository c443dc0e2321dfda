"""The `pyproxy` command as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyproxy.server import cli
from pyproxy.server.flags import FLAGS
from tests.server.test_configuration import GOOD


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyproxy", *words], capture_output=True, text=True, check=False, timeout=60
    )


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "envoy.yaml"
    path.write_text(text, "utf-8")
    return str(path)


def test_a_good_configuration_is_ok_as_with_envoy(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    ran = run("--mode", "validate", "-c", path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"configuration '{path}' OK\n", "")


def test_a_bad_configuration_tells_its_faults_and_exits_with_one(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("type: STATIC", "type: STATICC"))
    ran = run("--mode", "validate", "-c", path)
    assert (ran.returncode, ran.stdout) == (1, "")
    expected = "one of STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST; did you mean 'STATIC'?"
    assert ran.stderr.splitlines() == [
        f"{path}:23:5: static_resources.clusters[0].type: does not take the text 'STATICC'; expected {expected}",
        f"configuration '{path}' is not valid: 1 error",
    ]


def test_a_bad_configuration_does_not_start(tmp_path: Path) -> None:
    path = write(tmp_path, "foo: 1\n")
    ran = run("-c", path)
    assert ran.returncode == 1
    assert f"{path}:1:1: foo: unknown field 'foo'" in ran.stderr


def test_validating_imports_no_event_loop(tmp_path: Path) -> None:
    program = f"""
import sys
from pyproxy.server.cli import main
code = main(["--mode", "validate", "-c", {write(tmp_path, GOOD)!r}])
print(code, sorted({{"uvloop", "aiohttp", "httptools", "pyproxy.server.worker"}} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "0 []"


def test_the_version_is_one_that_launchers_can_read() -> None:
    """Consul takes the first x.y.z; Kuma wants five parts between slashes after `version:`."""
    ran = run("--version")
    assert ran.returncode == 0
    first = re.search(r"\d+\.\d+\.\d+", ran.stdout)
    assert first is not None
    assert first.group() == "1.40.0"
    told = re.search(r"version:(.*)", ran.stdout)
    assert told is not None
    parts = told.group(1).strip().split("/")
    assert (len(parts), parts[1]) == (5, "1.40.0")
    assert parts[4].strip("version:") == parts[4]


def test_help_explains_every_flag_that_does_something(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"--{flag.name}" in shown for flag in FLAGS)
    assert all(flag.help in shown for flag in FLAGS)
    assert "pyproxy compat FILE" in shown
    assert max(map(len, shown.splitlines())) <= 120


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["--concurency", "2"], 1, "pyproxy: unknown flag '--concurency'; did you mean '--concurrency'?"),
        (["-l", "loud"], 1, "pyproxy: -l, --log-level: 'loud' is not valid"),
        (["--mode", "validate"], 1, "there is no configuration; expected --config-path FILE or --config-yaml YAML"),
        (["compta", "x"], 2, "pyproxy: unknown command 'compta'; did you mean 'compat'?"),
        (["compat"], 2, "pyproxy compat: which file?"),
        (["serve"], 2, "pyproxy: unknown command 'serve'"),
    ],
)
def test_wrong_usage(words: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == code
    assert complaint in capsys.readouterr().err


def test_hot_restart_is_disabled_as_envoy_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--hot-restart-version"]) == 0
    assert capsys.readouterr().err == "disabled\n"


def test_an_interrupt_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str, words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_subcommand", interrupted)
    assert cli.main(["compat", "x"]) == 130
