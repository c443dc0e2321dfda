from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.resource_files import Found
from pyproxy.server.compat_verdict import verdict_of

URL = "type.googleapis.com/envoy."
TLS = {
    "name": "tls",
    "typed_config": {
        "@type": f"{URL}extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "x",
        "common_tls_context": {"validation_context": {"trusted_ca": {"filename": "/none/ca.pem"}}},
    },
}


def cluster(**fields: Any) -> Found:
    return Found("envoy.config.cluster.v3.Cluster", {"name": "a", "connect_timeout": "1s", **fields})


def hosts(address: str) -> dict[str, Any]:
    endpoint = {"address": {"socket_address": {"address": address, "port_value": 80}}}
    return {"cluster_name": "a", "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]}


def test_what_loads() -> None:
    verdict = verdict_of(cluster())
    assert (verdict.judged, verdict.reasons, verdict.unhonoured) == (True, (), ())


def test_what_is_not_honoured() -> None:
    (field,) = verdict_of(cluster(connection_pool_per_downstream_connection=True)).unhonoured
    assert field.field == "envoy.config.cluster.v3.Cluster.connection_pool_per_downstream_connection"
    assert field.severe


@pytest.mark.parametrize(
    ("found", "reasons"),
    [
        (cluster(lb_polcy="X"), ["unknown field 'lb_polcy' in envoy.config.cluster.v3.Cluster"]),
        (cluster(load_assignment=hosts("no.address")), ["address 'no.address' is not an IP address"]),
        # What is redacted, and files that are not here.
        (cluster(load_assignment=hosts("IP_REDACTED")), []),
        (cluster(transport_socket=TLS), []),
        (Found("envoy.Nothing", {}), ["unknown type 'type.googleapis.com/envoy.Nothing'"]),
        (
            Found("envoy.extensions.filters.http.alternate_protocols_cache.v3.FilterConfig", {}),
            ["the filter envoy.extensions.filters.http.alternate_protocols_cache.v3.FilterConfig is not supported"],
        ),
    ],
)
def test_why_it_is_refused(found: Found, reasons: list[str]) -> None:
    assert list(verdict_of(found).reasons) == reasons


def test_names_are_not_told() -> None:
    unknown = {"@type": f"{URL}extensions.filters.network.redis_proxy.v3.RedisProxy", "stat_prefix": "x"}
    chains = [{"filters": [{"name": "mine", "typed_config": unknown}]}]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 1}}
    fields = {"name": "l", "address": address, "filter_chains": chains}
    (reason,) = (
        one for one in verdict_of(Found("envoy.config.listener.v3.Listener", fields)).reasons if "redis" in one
    )
    assert reason == "the network filter envoy.extensions.filters.network.redis_proxy.v3.RedisProxy is not supported"


def test_what_was_not_looked_at_is_not_told() -> None:
    """The context of TLS was left where its file is missing; the cluster was not."""
    verdict = verdict_of(cluster(transport_socket=TLS, connection_pool_per_downstream_connection=True))
    assert [one.field.rpartition(".")[2] for one in verdict.unhonoured] == ["connection_pool_per_downstream_connection"]


def test_parts_are_looked_at_if_they_can_be() -> None:
    assert verdict_of(Found("envoy.extensions.filters.http.router.v3.Router", {})).judged
    assert not verdict_of(Found("envoy.config.core.v3.Node", {})).judged
