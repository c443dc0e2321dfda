"""Hosts that say in trailers how busy they are, as gRPC servers do."""

from __future__ import annotations

import http.client
from pathlib import Path

from tests.server import bootstraps as made
from tests.server.running import PATIENCE, Running, eventually
from tests.support.health_service import LOADED, SERVING, HealthService
from tests.support.ports import LOOPBACK

POLICY = {
    "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3"
    ".ClientSideWeightedRoundRobin",
    "blackout_period": "0s",
    "weight_update_period": "0.1s",
}
H2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def test_trailers_lead_to_weights(tmp_path: Path) -> None:
    hosts = [HealthService((LOADED,)), HealthService((SERVING,))]
    cluster = made.static_cluster(
        "c",
        *(made.endpoint(host.port) for host in hosts),
        load_balancing_policy={"policies": [{"typed_extension_config": {"name": "w", "typed_config": POLICY}}]},
        typed_extension_protocol_options=H2,
    )
    web = made.listener("l", 0, made.manager("h", {"route": {"cluster": "c"}}))
    proxy = Running.real(tmp_path, made.bootstrap([web], [cluster]), "--concurrency", "1")

    def weights() -> set[str]:
        connection = http.client.HTTPConnection(LOOPBACK, proxy.port("l"), timeout=PATIENCE)
        connection.request("POST", "/grpc", body=b"x")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == 200
        lines = proxy.admin("/clusters")[1].splitlines()
        return {line.rpartition("::")[2] for line in lines if "::weight::" in line}

    try:
        eventually(proxy.ready)
        # The other one, which says nothing, weighs as the median of those that do.
        eventually(lambda: weights() == {"200"})
    finally:
        proxy.stop()
        for host in hosts:
            host.stop()
