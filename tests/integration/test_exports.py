"""Telemetry that leaves the proxy: also where there is no admin, and where the collector is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyproxy.server.export_notes import exports_something
from tests.config.compiling import bootstrap as configured
from tests.config.compiling import cluster, compiled, manager
from tests.config.compiling import listener as listening
from tests.integration.conftest import Start
from tests.integration.downstream import Downstream
from tests.server import bootstraps
from tests.server.running import PATIENCE, eventually
from tests.support.collector import Collector
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ROOT

OTEL = {
    "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
    "http_service": {"http_uri": {"uri": "http://c/v1/traces", "cluster": "a", "timeout": "1s"}},
}
ALS = "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
TRACING = {"provider": {"name": "otel", "typed_config": OTEL}}


def ask(port: int) -> bool:
    try:
        with Downstream(port) as connection:
            return connection.request("GET", "/")[0] == 200
    except OSError:
        return False


def test_without_an_admin(tmp_path: Path) -> None:
    collector = Collector.start()
    (port,) = free_ports(1)
    hcm = bootstraps.manager("web", {"direct_response": {"status": 200}}, tracing=TRACING)
    config = bootstraps.bootstrap(
        [bootstraps.listener("web", port, hcm)],
        [bootstraps.static_cluster("a", bootstraps.endpoint(collector.port))],
    )
    del config["admin"]
    (tmp_path / "bootstrap.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "pyproxy", "-c", str(tmp_path / "bootstrap.json"), "--concurrency", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: ask(port))
        collector.wait_for(lambda received: received, PATIENCE)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        collector.stop()


def test_a_collector_that_refuses_costs_a_counter(start: Start) -> None:
    """It is the upstream of the requests too, so they are refused as well."""
    collector = Collector.start(400)
    target = {**OTEL, "http_service": {"http_uri": {"uri": "http://c/none", "cluster": "up", "timeout": "1s"}}}
    proxy = start(collector.port, tracing={"provider": {"name": "otel", "typed_config": target}})
    with Downstream(proxy.port("web")) as connection:
        for _ in range(10):
            assert connection.request("POST", "/digest", b"x")[0] == 400
    name = "tracing.opentelemetry.spans_dropped: 10"
    eventually(lambda: name in proxy.admin("/stats?filter=tracing.opentelemetry")[1])
    collector.stop()


@pytest.mark.parametrize(
    ("fields", "more", "wanted"),
    [
        ({}, {}, False),
        ({"tracing": {}}, {}, False),
        ({"tracing": TRACING}, {}, True),
        (
            {
                "access_log": [
                    {
                        "name": "l",
                        "typed_config": {
                            "@type": ALS,
                            "common_config": {"log_name": "l", "grpc_service": {"envoy_grpc": {"cluster_name": "a"}}},
                        },
                    }
                ]
            },
            {},
            True,
        ),
        (
            {},
            {
                "stats_sinks": [
                    {
                        "name": "s",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.config.metrics.v3.StatsdSink",
                            "address": {"socket_address": {"address": LOOPBACK, "port_value": 1}},
                        },
                    }
                ]
            },
            True,
        ),
    ],
)
def test_who_needs_exporters(fields: dict[str, Any], more: dict[str, Any], wanted: bool) -> None:
    values, faults, _ = compiled(configured([listening("one", manager(**fields))], [cluster("a")], **more))
    assert faults == []
    assert values is not None
    assert exports_something(values) is wanted
