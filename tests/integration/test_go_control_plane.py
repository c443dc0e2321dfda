"""go-control-plane's own integration test, run as its scripts/integration.sh does, in each of its modes.

It listens on ports that are fixed, so all of it lives in a network namespace of its own.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import ROOT

BUILT = Path(os.environ.get("GO_CONTROL_PLANE") or ROOT / ".oracle" / "go")
MODES = ("xds", "ads", "rest", "delta", "delta-ads", "xds-mux")
TCP_ONLY = ("-http=0", "-scopedhttp=0", "-vhdshttp=0")
NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
MESSAGE = "Hi, there!"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("go-control-plane")]


@pytest.fixture(scope="module", autouse=True)
def needs() -> None:
    if not (BUILT / "bin" / "test").exists():
        pytest.skip("needs go-control-plane's test: make .oracle/go/bin/test (with Go), or set GO_CONTROL_PLANE")
    alone = subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    if shutil.which("ip") is None or alone.returncode:
        pytest.skip(f"needs a network namespace of its own, and unshare says: {alone.stderr.strip()}")


def run(mode: str, directory: Path, *flags: str) -> None:
    xds, mux = mode.removesuffix("-mux"), mode.endswith("-mux")
    proxy = shlex.join(
        [
            *(sys.executable, "-m", "pyproxy", "-c", str(BUILT / "sample" / f"bootstrap-{xds}.yaml")),
            *("--drain-time-s", "1", "-l", "info"),
        ]
    )
    runtimes = 2 if xds == "ads" else 1
    # A batch of requests counts only if each is answered within 100 ms, which a busy machine may miss: more of them.
    tries = ("-r=15", "-delay=300ms")
    test = [
        str(BUILT / "bin" / "test"),
        f"--xds={xds}",
        f"--runtimes={runtimes}",
        f"-message={MESSAGE}",
        *tries,
        *flags,
    ]
    if mux:
        test.append("-mux")
    script = f"""
        ip link set lo up
        {shlex.join([str(BUILT / "bin" / "upstream"), f"-message={MESSAGE}"])} &
        {proxy} > {shlex.quote(str(directory / "proxy.log"))} 2>&1 &
        {shlex.join(test)}
        """
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=150
    )
    said = f"{done.stdout[-1500:]}{done.stderr[-1500:]}\n{(directory / 'proxy.log').read_text()[-3000:]}"
    assert done.returncode == 0, said
    assert "passed!" in done.stdout + done.stderr, said


@pytest.mark.parametrize("mode", MODES)
def test_tcp_listeners(mode: str, tmp_path: Path) -> None:
    run(mode, tmp_path, *TCP_ONLY)


def test_tcp_listeners_with_secrets(tmp_path: Path) -> None:
    run("ads", tmp_path, *TCP_ONLY, "-tls")


@pytest.mark.parametrize("mode", MODES)
def test_everything(mode: str, tmp_path: Path) -> None:
    run(mode, tmp_path)
