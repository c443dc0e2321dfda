"""What the control plane serves is valid, whatever the mesh looks like."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config import pgv
from pyproxy.config.descriptors import message_class
from pyproxy.control_plane.mesh_file import read_mesh
from pyproxy.control_plane.resources import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, URL, KeyPair, resources_of
from tests.control_plane.test_mesh_file import WHOLE

MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
STDOUT = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
OTEL = "envoy.config.trace.v3.OpenTelemetryConfig"
PAIR = KeyPair(b"chain", b"key", b"root")


def served(text: str, node: str, pair: KeyPair | None = PAIR, *, node_id: str = "") -> dict[str, dict[str, Any]]:
    made = resources_of(read_mesh(text, "m"), node, node_id, pair)
    return {
        kind: {name: message_class(kind.removeprefix(URL)).FromString(body) for name, body in listed.items()}
        for kind, listed in made.items()
    }


@pytest.mark.parametrize("node", ["front", "back", "edge"])
def test_all_is_valid(node: str) -> None:
    for listed in served(WHOLE, node).values():
        for name, message in listed.items():
            assert list(pgv.validate(message)) == [], name


def test_a_sidecar_hears_of_itself_and_of_what_it_calls() -> None:
    front, back = served(WHOLE, "front"), served(WHOLE, "back")
    assert list(front[CLUSTER]) == ["back|v1", "back|v2", "traces"]
    assert list(front[LISTENER]) == ["outbound:back"]
    assert list(back[CLUSTER]) == ["local:127.0.0.1:9001", "traces"]
    assert list(back[LISTENER]) == ["inbound:back:127.0.0.1:15001"]
    assert list(back[SECRET]) == ["default", "ROOTCA"]


def test_a_sidecar_of_one_copy_hears_of_that_one() -> None:
    third = served(WHOLE, "back", node_id="back-3")
    assert list(third[LISTENER]) == ["inbound:back:127.0.0.1:15003", "outbound:front"]
    assert list(served(WHOLE, "back", node_id="back-9")[LISTENER]) == ["inbound:back:127.0.0.1:15001"]


def test_what_is_told_of_requests() -> None:
    listener = served(WHOLE, "back", node_id="back-3")[LISTENER]["inbound:back:127.0.0.1:15003"]
    manager = message_class(MANAGER).FromString(listener.filter_chains[0].filters[-1].typed_config.value)
    (log,) = manager.access_log
    fields = message_class(STDOUT).FromString(log.typed_config.value).log_format.json_format.fields
    assert fields["proxy"].string_value == "back-3"
    assert fields["trace_id"].string_value == "%TRACE_ID%"
    assert manager.tracing.random_sampling.value == 10
    traces = message_class(OTEL).FromString(manager.tracing.provider.typed_config.value)
    assert traces.http_service.http_uri.uri == "http://127.0.0.1:4318/v1/traces"
    assert traces.service_name == "back-3"


def test_a_log_may_be_a_file_and_nothing_need_be_told() -> None:
    for wanted, said in (("/x.log", ["envoy.access_loggers.file"]), ("''", [])):
        text = WHOLE.replace("{access_log: stdout, traces: 127.0.0.1:4318, sampling: 10}", f"{{access_log: {wanted}}}")
        front = served(text, "front")
        assert "traces" not in front[CLUSTER]
        listener = front[LISTENER]["outbound:back"]
        manager = message_class(MANAGER).FromString(listener.filter_chains[0].filters[0].typed_config.value)
        assert [one.name for one in manager.access_log] == said
        assert not manager.HasField("tracing")


def test_weights_retries_and_breakers() -> None:
    front = served(WHOLE, "front")
    action = front[ROUTES]["outbound:back"].virtual_hosts[0].routes[0].route
    assert [(one.name, one.weight.value) for one in action.weighted_clusters.clusters] == [
        ("back|v1", 90),
        ("back|v2", 10),
    ]
    assert action.retry_policy.num_retries.value == 2
    assert front[CLUSTER]["back|v1"].circuit_breakers.thresholds[0].max_requests.value == 5
    assert front[CLUSTER]["back|v1"].outlier_detection.consecutive_5xx.value == 3


def test_who_has_a_sidecar_is_called_there_with_tls() -> None:
    front = served(WHOLE, "front")
    address = front[ENDPOINTS]["back|v1"].endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert address.port_value == 15001
    assert front[CLUSTER]["back|v1"].HasField("transport_socket")
    assert not front[CLUSTER]["back|v2"].HasField("transport_socket")


def test_without_mtls_nothing_is_encrypted_and_nobody_refused() -> None:
    back = served(WHOLE.replace("mtls: true", ""), "back", None)
    (listener,) = back[LISTENER].values()
    assert not listener.filter_chains[0].HasField("transport_socket")
    assert [one.name for one in listener.filter_chains[0].filters] == ["envoy.filters.network.http_connection_manager"]
    assert back[SECRET] == {}


def test_a_gateway_serves_its_routes_the_longest_first() -> None:
    text = WHOLE.replace("{service: front},", "{service: front}, {prefix: /v, service: back},")
    hosts = served(text, "edge")[ROUTES]["gateway:edge"].virtual_hosts
    assert [list(one.domains) for one in hosts] == [["api.example", "api.example:*"], ["*"]]
    assert [one.match.prefix for one in hosts[1].routes] == ["/v", "/"]


def test_a_stranger_gets_nothing() -> None:
    assert not any(served(WHOLE, "nobody").values())


def test_a_service_without_instances_is_unavailable() -> None:
    text = "services: {a: , b: {calls: {a: 127.0.0.1:1}}}"
    route = served(text, "b")[ROUTES]["outbound:a"].virtual_hosts[0].routes[0]
    assert route.direct_response.status == 503
