"""Renders a scenario as an Envoy v3 bootstrap; pyproxy and Envoy read the same file but for the ports."""

from pathlib import Path
from typing import Any

import yaml

from bench.config import nginx
from bench.config.certificates import Certificates
from bench.config.ports import Ports
from bench.scenarios import Scenario, Traffic

TYPES = "type.googleapis.com/envoy.extensions."
NO_LIMIT = 1_000_000

# What a sidecar of a service mesh logs per request, field by field.
ACCESS_LOG = {
    "start_time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "route_name": "%ROUTE_NAME%",
}


# Spans go to the upstream, which answers whatever it is asked.
COLLECTOR = {
    "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
    "http_service": {"http_uri": {"uri": "http://collector/v1/traces", "cluster": "collector", "timeout": "1s"}},
    "service_name": "bench",
}
SAMPLED_PERCENT = 1


def render_for_pyproxy(scenario: Scenario, ports: Ports, access_log: Path) -> str:
    """Where everything is switched on, Istio's metrics too, which Envoy itself does not have."""
    return render(scenario, ports, access_log, istio=scenario.telemetry)


def render(scenario: Scenario, ports: Ports, access_log: Path, *, istio: bool = False) -> str:
    """The bootstrap as YAML text."""
    certificates = Certificates.at(access_log.parent)
    chain: dict[str, Any] = {
        "filters": [_tcp_proxy(scenario) if scenario.is_tcp else _connection_manager(scenario, access_log, istio)]
    }
    if scenario.tls_in:
        chain["transport_socket"] = _downstream_tls(certificates)
    bootstrap: dict[str, Any] = {
        "admin": {"address": _address(ports.admin)},
        "static_resources": {
            "listeners": [
                {
                    "name": "bench",
                    "address": _address(ports.listen),
                    "filter_chains": [chain],
                }
            ],
            "clusters": [_cluster(name, ports.upstream, scenario) for name, _ in _weights(scenario)],
        },
    }
    if scenario.telemetry:
        bootstrap["static_resources"]["clusters"].append(_cluster("collector", ports.upstream, scenario))
    if scenario.tls_out:
        for cluster in bootstrap["static_resources"]["clusters"]:
            cluster["transport_socket"] = _upstream_tls(certificates)
    return str(yaml.dump(bootstrap, Dumper=yaml.CSafeDumper, sort_keys=False, width=110))


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _weights(scenario: Scenario) -> list[tuple[str, int]]:
    return [(f"service_v{version}", weight) for version, weight in enumerate(scenario.weights, 1)]


def _connection_manager(scenario: Scenario, access_log: Path, istio: bool) -> dict[str, Any]:
    router: dict[str, Any] = {"@type": TYPES + "filters.http.router.v3.Router"}
    manager: dict[str, Any] = {
        "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "generate_request_id": scenario.mesh,
        "route_config": {
            "name": "bench",
            "virtual_hosts": [{"name": "bench", "domains": ["*"], "routes": _routes(scenario)}],
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    if scenario.mesh:
        manager["use_remote_address"] = True
        manager["access_log"] = [_access_log(access_log)]
    else:
        router["dynamic_stats"] = False
    if scenario.telemetry:
        provider = {"name": "envoy.tracers.opentelemetry", "typed_config": COLLECTOR}
        manager["tracing"] = {"provider": provider, "random_sampling": {"value": SAMPLED_PERCENT}}
    if istio:
        mesh = {"@type": "type.googleapis.com/stats.PluginConfig"}
        manager["http_filters"].insert(0, {"name": "istio.stats", "typed_config": mesh})
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _tcp_proxy(scenario: Scenario) -> dict[str, Any]:
    proxy = {
        "@type": TYPES + "filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "bench",
        "cluster": _weights(scenario)[0][0],
    }
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}


def _downstream_tls(certificates: Certificates) -> dict[str, Any]:
    return _tls("Downstream", certificates.server, certificates.ca, {"require_client_certificate": True})


def _upstream_tls(certificates: Certificates) -> dict[str, Any]:
    return _tls("Upstream", certificates.client, certificates.ca, {"sni": "localhost"})


def _tls(side: str, pem: Path, ca: Path, more: dict[str, Any]) -> dict[str, Any]:
    """Everything else is left as it is by default: versions, ciphers, tickets."""
    both = {"filename": str(pem)}
    common = {
        "tls_certificates": [{"certificate_chain": both, "private_key": both}],
        "validation_context": {"trusted_ca": {"filename": str(ca)}},
    }
    kind = TYPES + f"transport_sockets.tls.v3.{side}TlsContext"
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": kind, "common_tls_context": common, **more},
    }


def _routes(scenario: Scenario) -> list[dict[str, Any]]:
    if scenario.traffic is Traffic.HANDSHAKE:
        answer = {"status": 200, "body": {"inline_string": nginx.body(scenario)}}
        return [{"match": {"prefix": "/"}, "direct_response": answer}]
    weighted = [{"name": name, "weight": weight} for name, weight in _weights(scenario)]
    if len(weighted) == 1:
        action: dict[str, Any] = {"cluster": weighted[0]["name"]}
    else:
        action = {"weighted_clusters": {"clusters": weighted}}
    return [{"match": {"prefix": prefix}, "route": dict(action)} for prefix in scenario.prefixes]


def _access_log(path: Path) -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": TYPES + "access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": dict(ACCESS_LOG)},
        },
    }


def _http2() -> dict[str, Any]:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    explicit = {"@type": f"type.googleapis.com/{options}", "explicit_http_config": {"http2_protocol_options": {}}}
    return {"typed_extension_protocol_options": {options: explicit}}


def _cluster(name: str, port: int, scenario: Scenario) -> dict[str, Any]:
    """A static cluster of one host, its circuit breakers out of the way."""
    kinds = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [dict.fromkeys(kinds, NO_LIMIT)]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
        **(_http2() if scenario.h2_out else {}),
    }
