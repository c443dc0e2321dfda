"""The generator of handshakes against a real TLS server, and the gate of idle connections that uses it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import tls_load, tls_memory
from bench.config.certificates import Certificates, make
from bench.lab import Bench, Lab
from bench.scenarios import FULL_HANDSHAKES, SCENARIOS
from bench.targets import system

RESUMED = replace(FULL_HANDSHAKES, resume=True)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    nginx = system("nginx")
    if not nginx or not system("h2load"):
        pytest.skip("needs nginx and h2load")
    pace: Any = SimpleNamespace()
    (tmp_path / "scratch").mkdir()
    return Bench({"nginx": nginx, "upstream": nginx}, tmp_path / "results", tmp_path / "scratch", 0, 0, pace)


@pytest.fixture
def lab(bench: Bench) -> Iterator[Lab]:
    with Lab(bench, FULL_HANDSHAKES, ["nginx"]) as lab:
        assert not lab.failed
        yield lab


def test_full_handshakes_are_measured(lab: Lab) -> None:
    sample = lab.run("nginx", 20)
    assert (sample.requests, sample.errors) == (20, 0)
    assert sample.cpu_ns_data > 0


def test_a_session_is_resumed_and_the_full_handshake_is_dearer(lab: Lab) -> None:
    full = lab.run("nginx", 100)
    lab.scenario = RESUMED
    resumed = lab.run("nginx", 100)
    assert resumed.errors == 0
    assert resumed.cpu_ns_data < full.cpu_ns_data


def test_a_client_that_the_server_does_not_know_is_an_error(lab: Lab, tmp_path: Path) -> None:
    """Its certificate comes from another authority, which only the answer to the request tells."""
    other = tmp_path / "other"
    other.mkdir()
    mixed = replace(make(other), ca=Certificates.at(lab.bench.scratch).ca)
    with pytest.raises(OSError, match="400 Bad"):
        tls_load.Client(lab.running["nginx"].ports.listen, mixed).connect(keep=False)


def test_two_proxies_with_mutual_tls_between_them_are_one_target(bench: Bench) -> None:
    pair = next(one for one in SCENARIOS if one.pair)
    with Lab(bench, pair, ["nginx"]) as lab:
        assert not lab.failed
        assert len(lab.running["nginx"].pids()) == 2
        assert lab.run("nginx", 200).errors == 0
        assert {"nginx.conf", "nginx-2.conf"} <= {path.name for path in lab.directory.iterdir()}


def test_memory_is_told_per_connection() -> None:
    grown = 30 * tls_memory.MORE
    assert tls_memory.judge(1000, 1000 + grown) == {"kB_per_connection": 30.0, "ok": True}
    assert tls_memory.judge(1000, 1600 + grown)["ok"] is False


def test_idle_connections_are_measured(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_memory, "WARM", 10)
    monkeypatch.setattr(tls_memory, "MORE", 20)
    before, after = tls_memory.grow(lab, "nginx")
    assert 0 < before < after < before + 20 * 200
