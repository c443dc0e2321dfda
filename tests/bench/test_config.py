"""What is rendered for a target is a config that the target itself accepts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.config import certificates, envoy, haproxy, nginx
from bench.config.ports import Ports, free_ports
from bench.scenarios import DEMO, IDLE_TLS, SCENARIOS, SMALL, Scenario
from bench.targets import ROOT, system

HOPS = [hop for scenario in [*SCENARIOS, DEMO, SMALL, IDLE_TLS] for hop in scenario.hops]
EVERY = pytest.mark.parametrize("scenario", HOPS, ids=lambda scenario: scenario.name)


@pytest.fixture(autouse=True)
def made_certificates(tmp_path: Path) -> None:
    certificates.make(tmp_path)


@pytest.fixture
def ports() -> Ports:
    return Ports.choose(upstream=free_ports(1)[0])


def accepts(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def needs(name: str) -> Path:
    found = system(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


@EVERY
def test_envoy_accepts(scenario: Scenario, ports: Ports, tmp_path: Path) -> None:
    binary = Path(os.environ.get("ENVOY_BIN", ROOT / ".oracle/bin/envoy"))
    if not binary.exists():
        pytest.skip("no Envoy: set ENVOY_BIN or run `make bench` once")
    config = tmp_path / "envoy.yaml"
    config.write_text(envoy.render(scenario, ports, tmp_path / "access.log"))
    accepts(binary, "--mode", "validate", "-c", config, "--log-level", "error")


@EVERY
def test_nginx_accepts(scenario: Scenario, ports: Ports, tmp_path: Path) -> None:
    if "nginx" in scenario.left_out:
        pytest.skip(scenario.left_out["nginx"])
    config = tmp_path / "nginx.conf"
    config.write_text(nginx.render(scenario, ports, tmp_path / "access.log"))
    accepts(needs("nginx"), "-q", "-t", "-c", config)


@EVERY
def test_upstream_accepts(scenario: Scenario, ports: Ports, tmp_path: Path) -> None:
    config = tmp_path / "upstream.conf"
    config.write_text(nginx.render_upstream(scenario, ports.upstream, tmp_path))
    accepts(needs("nginx"), "-q", "-t", "-c", config)


@EVERY
def test_haproxy_accepts(scenario: Scenario, ports: Ports, tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(haproxy.render(scenario, ports, tmp_path / "access.log"))
    accepts(needs("haproxy"), "-c", "-f", config)


def test_haproxy_accepts_the_control(ports: Ports, tmp_path: Path) -> None:
    config = tmp_path / "control.cfg"
    config.write_text(haproxy.render_control(ports))
    accepts(needs("haproxy"), "-c", "-f", config)


def manager(scenario: Scenario, ports: Ports) -> dict[str, object]:
    bootstrap = yaml.load(envoy.render(scenario, ports, Path("/log")), yaml.CSafeLoader)
    filters = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    return dict(filters[0]["typed_config"])


def test_bare_switches_everything_off(ports: Ports) -> None:
    bare = manager(SMALL, ports)
    assert bare["generate_request_id"] is False
    assert "access_log" not in bare
    assert bare["http_filters"][0]["typed_config"]["dynamic_stats"] is False  # type: ignore[index]


def test_mesh_switches_everything_on(ports: Ports) -> None:
    mesh = manager(DEMO, ports)
    assert mesh["generate_request_id"] is True
    assert mesh["use_remote_address"] is True
    assert mesh["access_log"][0]["typed_config"]["path"] == "/log"  # type: ignore[index]
    assert "dynamic_stats" not in mesh["http_filters"][0]["typed_config"]  # type: ignore[index]


def test_the_last_route_is_asked_for() -> None:
    scenario = next(one for one in SCENARIOS if one.name == "routes-10k")
    prefixes = scenario.prefixes
    assert len(prefixes) == len(set(prefixes)) == 10_000
    assert [prefix for prefix in prefixes if scenario.path.startswith(prefix)] == [prefixes[-1]]


def test_body_has_its_size_and_its_end() -> None:
    for scenario in SCENARIOS:
        assert len(nginx.body(scenario)) == scenario.body
        assert nginx.body(scenario).endswith(".end")


def test_free_ports_are_different_and_not_ephemeral() -> None:
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = free_ports(20)
    assert len(set(found)) == 20
    assert max(found) < low


def test_a_pair_speaks_tls_between_its_two(ports: Ports) -> None:
    first, second = next(one for one in SCENARIOS if one.pair).hops
    near = yaml.load(envoy.render(first, ports, Path("/log")), yaml.CSafeLoader)["static_resources"]
    far = yaml.load(envoy.render(second, ports, Path("/log")), yaml.CSafeLoader)["static_resources"]
    assert "transport_socket" not in near["listeners"][0]["filter_chains"][0]
    assert "transport_socket" not in far["clusters"][0]
    assert near["clusters"][0]["transport_socket"]["typed_config"]["sni"] == "localhost"
    server = far["listeners"][0]["filter_chains"][0]["transport_socket"]["typed_config"]
    assert server["require_client_certificate"] is True


def test_everything_on_is_traced_and_has_the_metrics_of_a_mesh(ports: Ports, tmp_path: Path) -> None:
    scenario = next(one for one in SCENARIOS if one.telemetry)
    assert manager(scenario, ports)["tracing"]["random_sampling"] == {"value": 1}  # type: ignore[index]
    config = tmp_path / "pyproxy.yaml"
    config.write_text(envoy.render_for_pyproxy(scenario, ports, tmp_path / "access.log"))
    assert "istio.stats" in config.read_text()
    accepts(sys.executable, "-m", "pyproxy", "--mode", "validate", "-c", config)
