"""From the command line to values, or to every fault with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyproxy.server.configuration import ConfigurationError, read_configuration
from pyproxy.server.flags import Options

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"

GOOD = f"""\
node: {{id: a, cluster: c}}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": {HCM}
          stat_prefix: web
          http_filters:
          - {{name: router, typed_config: {{"@type": {ROUTER}}}}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: /}}
                route: {{cluster: upstream}}
  clusters:
  - name: upstream
    type: STATIC
    connect_timeout: 1s
    load_assignment: {{cluster_name: upstream}}
"""


def options(tmp_path: Path, text: str, **chosen: Any) -> Options:
    path = tmp_path / "envoy.yaml"
    path.write_text(text, "utf-8")
    return Options(config_path=str(path), **chosen)


def faults(tmp_path: Path, text: str, **chosen: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(options(tmp_path, text, **chosen))
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.lines()]


def test_a_good_configuration_becomes_values(tmp_path: Path) -> None:
    configuration = read_configuration(options(tmp_path, GOOD))
    assert [listener.name for listener in configuration.bootstrap.listeners] == ["web"]
    assert [cluster.name for cluster in configuration.bootstrap.clusters] == ["upstream"]
    assert configuration.report.unhonoured == []


def test_six_planted_faults_are_told_in_one_run_each_with_its_line_and_a_hint(tmp_path: Path) -> None:
    text = f"""\
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": {HCM}
          stat_prefix: web
          http_filters:
          - name: gzip
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.compresor.v3.Compressor}}
          - {{name: router, typed_config: {{"@type": {ROUTER}}}}}
          route_config:
            virtual_hosts:
            - name: empty
              domains: []
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: /}}
                route: {{cluster: upstraem}}
  clusters:
  - name: upstream
    type: STATICC
    conect_timeout: 1s
    load_assignment: {{cluster_name: upstream}}
  - name: second
    type: STATIC
    connect_timeout: 5 s
    load_assignment: {{cluster_name: second}}
"""
    found = faults(tmp_path, text)
    assert [(line.split(" ")[0], line.rpartition("; ")[2]) for line in found[:-1]] == [
        ("envoy.yaml:13:28:", f"did you mean {COMPRESSOR!r}?"),
        ("envoy.yaml:18:15:", "expected at least 1 element"),
        ("envoy.yaml:23:25:", "did you mean 'upstream'?"),
        ("envoy.yaml:26:5:", "did you mean 'STATIC'?"),
        ("envoy.yaml:27:5:", "did you mean 'connect_timeout'?"),
        ("envoy.yaml:31:5:", "did you mean '5s'?"),
    ]
    assert found[-1] == "configuration 'envoy.yaml' is not valid: 6 errors"


COMPRESSOR = "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor"


def test_a_text_that_is_no_yaml_is_told_alone(tmp_path: Path) -> None:
    assert faults(tmp_path, "static_resources:\n  clusters: [\n")[:-1] == [
        "envoy.yaml:3:1: not YAML: while parsing a flow node, did not find expected node content"
    ]


def test_no_configuration_at_all() -> None:
    with pytest.raises(ConfigurationError, match="there is no configuration; expected --config-path FILE"):
        read_configuration(Options())


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    chosen = options(tmp_path, GOOD, service_node="n", service_zone="z", stats_tag=("t:v",))
    bootstrap = read_configuration(chosen).bootstrap
    assert (bootstrap.node.id, bootstrap.node.cluster, bootstrap.node.zone) == ("n", "c", "z")
    assert ("t", "v") in bootstrap.stats.tags


def test_a_text_on_the_command_line_is_merged_over_the_file(tmp_path: Path) -> None:
    overlay = "static_resources: {clusters: [{name: extra, type: STATIC, load_assignment: {cluster_name: extra}}]}"
    bootstrap = read_configuration(options(tmp_path, GOOD, config_yaml=overlay)).bootstrap
    assert [cluster.name for cluster in bootstrap.clusters] == ["upstream", "extra"]


def test_unknown_fields_may_be_allowed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = GOOD + "foo: 1\n"
    assert "unknown field 'foo'" in faults(tmp_path, text)[0]
    read_configuration(options(tmp_path, text, allow_unknown_static_fields=True))
    assert "envoy.yaml:26:1: foo: unknown, passed over" in caplog.text


def test_a_disabled_extension_is_not_there(tmp_path: Path) -> None:
    found = faults(tmp_path, GOOD, disable_extensions="envoy.filters.http/envoy.filters.http.router")
    assert found[0].startswith("envoy.yaml:13:")


def test_what_is_not_honoured_is_reported(tmp_path: Path) -> None:
    more = "    connection_pool_per_downstream_connection: true\n    alt_stat_name: b\n"
    text = GOOD.replace("    type: STATIC\n", f"    type: STATIC\n{more}")
    configuration = read_configuration(options(tmp_path, text))
    assert {(field.path[-1], field.severe) for field in configuration.report.unhonoured} >= {
        ("connection_pool_per_downstream_connection", True)
    }
