"""A real Prometheus scrapes a real proxy; the dashboard and the alerts ask for metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.downstream import Downstream
from tests.integration.upstream import Upstream
from tests.server.bootstraps import bootstrap, endpoint, listener, manager, static_cluster
from tests.server.running import Running, eventually
from tests.support.collector import Collector
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ROOT

OBSERVABILITY = ROOT / "examples" / "observability"
REQUESTS = 20
PATIENCE = 20.0
# What promtool's linter says of names and missing help; the names are Envoy's, and it has no help texts either.
TOLERATED = re.compile(
    r'no help text|counter metrics should have "_total" suffix|non-counter metrics should not have "_total" suffix'
    r"|use base unit|metric names should not contain abbreviated units|non-histogram and non-summary metrics"
    r"|metric name should not include type"
)
_METRIC = re.compile(r"\b(?:envoy|istio)_[a-z0-9_]+")
_LABELS = re.compile(r"\b(?:by|on|without) \([^)]*\)|\{[^}]*\}")


def needs(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"no {tool} here: apt-get install prometheus")
    return path


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A proxy with some traffic behind it, traced, with the metrics of a mesh."""
    directory = tmp_path_factory.mktemp("proxy")
    collector = Collector.start()
    otel = {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "http_service": {"http_uri": {"uri": "http://c/v1/traces", "cluster": "collector", "timeout": "1s"}},
    }
    with Upstream() as upstream:
        mesh = {"name": "istio.stats", "typed_config": {"@type": "type.googleapis.com/stats.PluginConfig"}}
        web = listener(
            "web",
            0,
            manager(
                "web",
                {"route": {"cluster": "up", "timeout": "0s"}},
                tracing={"provider": {"name": "otel", "typed_config": otel}},
            ),
        )
        web["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"].insert(0, mesh)
        clusters = [
            static_cluster("up", endpoint(upstream.port)),
            static_cluster("collector", endpoint(collector.port)),
        ]
        config = bootstrap([web], clusters)
        config["admin"] = {"address": {"socket_address": {"address": LOOPBACK, "port_value": free_ports(1)[0]}}}
        config["layered_runtime"] = {
            "layers": [{"name": "t", "static_layer": {"tracing": {"opentelemetry": {"min_flush_spans": 1}}}}]
        }
        file = directory / "bootstrap.json"
        file.write_text(json.dumps(config))
        command = ["pyproxy", "-c", str(file), "--concurrency", "1"]
        running = Running(directory, command, PYPROXY_HTTP_METRICS="otel")
        eventually(running.ready)
        with Downstream(running.port("web")) as connection:
            for _ in range(REQUESTS):
                assert connection.request("GET", "/digest")[0] == 200
        collector.wait_for(lambda received: received)
        eventually(lambda: "istio_requests_total" in running.admin("/stats/prometheus")[1])
        yield running
        running.stop()
    collector.stop()


def test_promtool_reads_what_is_scraped(proxy: Running) -> None:
    promtool = needs("promtool")
    text = proxy.admin("/stats/prometheus")[1] + "\n"
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if line and not TOLERATED.search(line)]
    assert complaints == []
    assert done.returncode in (0, 3), done.stderr  # 3: the linter has something to say


def test_a_real_prometheus_answers(proxy: Running, tmp_path: Path) -> None:
    with _prometheus(proxy, tmp_path) as ask:
        requests = ask("query", query='envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="web"}')
        assert [float(one["value"][1]) for one in requests] == [REQUESTS]
        mesh = ask("query", query="sum by (reporter, response_code) (istio_requests_total)")
        assert [(one["metric"]["response_code"], float(one["value"][1])) for one in mesh] == [("200", REQUESTS)]
        for metric in ("http_server_request_duration_seconds_count", "http_client_request_duration_seconds_count"):
            of_otel = ask("query", query=f"sum by (http_response_status_code) ({metric})")
            assert [(one["metric"], float(one["value"][1])) for one in of_otel] == [
                ({"http_response_status_code": "200"}, REQUESTS)
            ]
        slowest = ask("query", query="histogram_quantile(1, sum by (le) (http_server_request_duration_seconds_bucket))")
        assert 0 < float(slowest[0]["value"][1]) <= 10
        count = ask("query", query='envoy_cluster_upstream_rq_time_count{envoy_cluster_name="up"}')
        assert [float(one["value"][1]) for one in count] == [REQUESTS]
        now = time.time()
        found = ask(
            "query_exemplars",
            query="envoy_http_downstream_rq_time_bucket",
            start=str(now - 3600),
            end=str(now + 3600),
        )
        traces = {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}
        assert traces
        assert all(re.fullmatch("[0-9a-f]{32}", trace) for trace in traces)


def test_dashboard_and_alerts_ask_for_what_there_is(proxy: Running) -> None:
    dashboard = json.loads((OBSERVABILITY / "golden-signals.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text())
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    wanted = {name for text in expressions for name in _METRIC.findall(_LABELS.sub("", text))}
    scraped = proxy.admin("/stats/prometheus")[1]
    there = set(re.findall(r"^([a-z0-9_]+)\{", scraped, re.MULTILINE))
    assert wanted - there == set()
    assert len(wanted) > 15


def test_promtool_reads_the_alerts() -> None:
    promtool = needs("promtool")
    rules = str(OBSERVABILITY / "alerts.yaml")
    done = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class _prometheus:  # noqa: N801 (used like a function)
    """A Prometheus that scrapes the proxy four times a second; gives a function that asks its API."""

    def __init__(self, proxy: Running, directory: Path) -> None:
        address = proxy.admin_address()
        scrape = {
            "job_name": "pyproxy",
            "scrape_interval": "250ms",
            "scrape_timeout": "250ms",
            "metrics_path": "/stats/prometheus",
            "params": {"openmetrics": [""]},
            "static_configs": [{"targets": [address]}],
        }
        config = directory / "prometheus.yml"
        config.write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
        (self._port,) = free_ports(1)
        self._command = [
            needs("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address={LOOPBACK}:{self._port}",
            "--enable-feature=exemplar-storage",
        ]
        self._log = (directory / "prometheus.log").open("wb")

    def __enter__(self) -> Any:
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self._scraped():
            assert self._process.poll() is None, "Prometheus has ended"
            time.sleep(0.1)
        return self._ask

    def __exit__(self, *reason: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._log.close()

    def _scraped(self) -> bool:
        try:
            return bool(
                self._ask("query_exemplars", query="envoy_http_downstream_rq_time_bucket", start="0", end="9e9")
            )
        except OSError:
            return False

    def _ask(self, what: str, **parameters: str) -> Any:
        url = f"http://{LOOPBACK}:{self._port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=5) as response:
            answer = json.load(response)
        data = answer["data"]
        return data["result"] if isinstance(data, dict) else data
