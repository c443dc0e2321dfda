"""A lab with a real upstream, generator and proxy: it measures, and leaves nothing running."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import process
from bench.lab import Bench, Lab
from bench.sample import DIRECT
from bench.scenarios import SCENARIOS, SMALL
from bench.targets import system

MESH = next(one for one in SCENARIOS if one.name == "h1-ka-mesh")
RATE = replace(next(one for one in SCENARIOS if one.name == "latency-100"), connections=4)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    nginx = system("nginx")
    if not nginx or not system("h2load"):
        pytest.skip("needs nginx and h2load")
    pace: Any = SimpleNamespace()
    (tmp_path / "scratch").mkdir()
    binaries = {"nginx": nginx, "upstream": nginx, "pyproxy": Path("/bin/false")}
    return Bench(binaries, tmp_path / "results", tmp_path / "scratch", 0, 0, pace)


def test_it_measures_and_ends(bench: Bench) -> None:
    with Lab(bench, SMALL, ["nginx"]) as lab:
        pids = lab.running["nginx"].pids()
        sample = lab.run("nginx", 500)
    assert (sample.requests, sample.errors) == (500, 0)
    assert 0 < sample.cpu_ns_data == sample.cpu_ns_total < sample.wall_ns
    assert sample.pss_kb > 0
    with pytest.raises(OSError, match="No such"):
        process.threads(pids[0])


def test_every_config_is_kept(bench: Bench) -> None:
    with Lab(bench, SMALL, ["nginx"]) as lab:
        kept = {path.name for path in lab.directory.iterdir()}
    assert {"nginx.conf", "upstream.conf", "nginx.log", "upstream.log"} <= kept


def test_mesh_writes_an_access_log_that_does_not_grow_for_ever(bench: Bench) -> None:
    with Lab(bench, MESH, ["nginx"]) as lab:
        assert lab.run("nginx", 5000).log_bytes > 1_000_000
        assert (bench.scratch / "nginx.access.log").stat().st_size == 0


def test_open_loop_measures_the_direct_way_too(bench: Bench) -> None:
    with Lab(bench, RATE, ["nginx"]) as lab:
        direct, proxied = lab.run(DIRECT, 50), lab.run("nginx", 50)
    assert direct.cpu_ns_total == 0
    assert proxied.cpu_ns_total > 0
    assert direct.errors == proxied.errors == 0
    assert set(proxied.lat_us) == {"p50", "p90", "p99", "p99.9", "max"}


def test_a_target_that_does_not_start_is_told_and_the_others_run(bench: Bench) -> None:
    with Lab(bench, SMALL, ["pyproxy", "nginx"]) as lab:
        assert lab.failed == {"pyproxy": "exit status 1: no output"}
        assert "nginx" in lab.running
