"""A real Envoy with some traffic behind it, and everything that it says about its statistics at one moment."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pyproxy.telemetry.histogram import bin_of
from pyproxy.telemetry.shared_reader import StatsSnapshot
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess

TYPE = "type.googleapis.com/envoy.extensions.filters"
# Not the admin's own, which move with every question, nor what is measured of the process.
FILTER = r"^(cluster|vhost|listener\.(127|my)|http\.(in|eg)|listener_manager|cluster_manager|workers)"
FLUSH_SECONDS = 2.0
FIXED_TAGS = (("region", 'eu"1\\'), ("my.tag", "é"))
FORMS = (
    "stats",
    "stats?histogram_buckets=cumulative",
    "stats?histogram_buckets=disjoint",
    "stats?histogram_buckets=detailed",
    "stats?histogram_buckets=summary",
    "stats?format=json",
    "stats?format=json&histogram_buckets=cumulative",
    "stats?format=json&histogram_buckets=disjoint",
    "stats?format=json&histogram_buckets=detailed",
    "stats?format=json&histogram_buckets=summary",
    "stats?usedonly",
    "stats?usedonly&format=json",
    "stats?type=Counters",
    "stats?type=Gauges&usedonly",
    "stats?type=Histograms",
    "stats?type=TextReadouts",
    "stats/prometheus",
    "stats/prometheus?usedonly",
    "stats/prometheus?text_readouts",
    "stats/prometheus?histogram_buckets=summary",
    "stats/prometheus?histogram_buckets=cumulative",
    "stats?format=prometheus",
)


@dataclass(slots=True)
class EnvoySays:
    """One moment: the state as a snapshot, and the answer to each of FORMS."""

    snapshot: StatsSnapshot
    answers: dict[str, str]
    kinds: dict[str, str] = field(default_factory=dict)


def ask(command: Sequence[str], directory: Path) -> EnvoySays:
    """Start Envoy, send requests, wait for the flush that shows them, ask, stop."""
    admin, front, other, back = free_ports(4)
    with socket.socket() as silent:
        silent.bind((LOOPBACK, 0))
        silent.listen()
        bootstrap = directory / "stats.json"
        bootstrap.write_text(json.dumps(_bootstrap(admin, front, other, back, silent.getsockname()[1])))
        envoy = ProxyProcess.start("envoy", command, bootstrap, admin)
        try:
            _send_requests(front, other)
            return _moment(envoy)
        finally:
            envoy.stop()


def with_filter(form: str) -> str:
    return f"{form}{'&' if '?' in form else '?'}filter={quote(FILTER)}"


def _moment(envoy: ProxyProcess) -> EnvoySays:
    """All answers between the same two flushes, in an interval in which histograms got samples."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        before = _get(envoy, "stats?format=json&histogram_buckets=detailed")
        if '"intervals":[{' in before:
            answers = {form: _get(envoy, form) for form in FORMS}
            kinds = {kind: _get(envoy, f"stats?format=json&type={kind}") for kind in ("Counters", "Gauges")}
            used = _get(envoy, "stats?format=json&usedonly")
            if _get(envoy, "stats?format=json&histogram_buckets=detailed") == before:
                return _read(before, kinds, used, answers)
        time.sleep(0.05)
    raise AssertionError("Envoy never kept still")


def _read(detailed: str, kinds: dict[str, str], used: str, answers: dict[str, str]) -> EnvoySays:
    snapshot = StatsSnapshot()
    for kind, into in (("Counters", snapshot.counters), ("Gauges", snapshot.gauges)):
        into.update({one["name"]: one["value"] for one in json.loads(kinds[kind])["stats"]})
    snapshot.used = {one["name"] for one in json.loads(used)["stats"] if "name" in one}
    for one in json.loads(detailed)["stats"][-1]["histograms"]["details"]:
        snapshot.histograms[one["name"]] = _bins(one["totals"])
        if one["intervals"]:
            snapshot.intervals[one["name"]] = _bins(one["intervals"])
    names = dict.fromkeys(snapshot.counters, "COUNTER") | dict.fromkeys(snapshot.gauges, "GAUGE")
    return EnvoySays(snapshot, answers, names | dict.fromkeys(snapshot.histograms, "HISTOGRAM"))


def _bins(buckets: list[dict[str, Any]]) -> dict[int, int]:
    return {bin_of(round(one["lower_bound"])): one["count"] for one in buckets}


def _get(envoy: ProxyProcess, form: str) -> str:
    status, body = envoy.admin("/" + with_filter(form))
    assert status == 200, body
    return body.decode()


def _send_requests(front: int, other: int) -> None:
    for path in ("/", "/", "/vc/1", "/404", "/503", "/refused", "/empty", "/silent/120", "/silent/310", "/direct", "/"):
        _request(front, path)
    _request(other, "/")


def _request(port: int, path: str) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    connection.request("GET", path)
    connection.getresponse().read()
    connection.close()


def _bootstrap(admin: int, front: int, other: int, back: int, silent: int) -> dict[str, Any]:
    routes = [
        {"match": {"prefix": "/refused"}, "route": {"cluster": "refused"}},
        {"match": {"prefix": "/empty"}, "route": {"cluster": "empty"}},
        {"match": {"prefix": "/silent/120"}, "route": {"cluster": "silent", "timeout": "0.12s"}},
        {"match": {"prefix": "/silent/310"}, "route": {"cluster": "silent", "timeout": "0.31s"}},
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 204}},
        {"match": {"prefix": "/"}, "route": {"cluster": "a.b"}, "stat_prefix": "all"},
    ]
    virtual_clusters = [{"name": "vc1", "headers": [{"name": ":path", "string_match": {"prefix": "/vc"}}]}]
    codes = [{"match": {"path": f"/{code}"}, "direct_response": {"status": code}} for code in (404, 503)]
    answers = [*codes, {"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    tags = [{"tag_name": name, "fixed_value": value} for name, value in FIXED_TAGS]
    return {
        "admin": {"address": _address(admin)},
        "stats_flush_interval": f"{FLUSH_SECONDS:g}s",
        "stats_config": {"stats_tags": tags},
        "static_resources": {
            "listeners": [
                _listener("front", front, "ingress", routes, virtual_clusters),
                _listener("other", other, "eg.ress", routes, [], stat_prefix="my.own"),
                _listener("back", back, "backend", answers, []),
            ],
            "clusters": [
                _cluster("a.b", back),
                _cluster("refused", 1),
                _cluster("silent", silent),
                _cluster("empty", None),
                {"name": "dns", "type": "STRICT_DNS"} | _endpoints("dns", back, "localhost"),
            ],
        },
    }


def _listener(
    name: str, port: int, prefix: str, routes: list[Any], virtual_clusters: list[Any], **fields: Any
) -> dict[str, Any]:
    host = {"name": f"vh_{name}", "domains": ["*"], "routes": routes, "virtual_clusters": virtual_clusters}
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPE}.http.router.v3.Router"}}
    manager = {
        "@type": f"{TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": prefix,
        "http_filters": [router],
        "route_config": {"name": name, "virtual_hosts": [host]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": _address(port), "filter_chains": [chain], **fields}


def _cluster(name: str, port: int | None) -> dict[str, Any]:
    return {"name": name, "type": "STATIC"} | (_endpoints(name, port, LOOPBACK) if port is not None else {})


def _endpoints(name: str, port: int, host: str) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port, host)}}]}]
    return {"load_assignment": {"cluster_name": name, "endpoints": endpoints}}


def _address(port: int, host: str = LOOPBACK) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
