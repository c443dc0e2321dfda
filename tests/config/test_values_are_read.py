"""What is compiled is used: nothing may count as honoured because a compiler read it, if no live code reads the value.

A field of a value is taken to be read if its name stands behind a dot anywhere in the live code. That is lenient, as
names repeat, but it finds the settings that nobody looks at.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from pyproxy.config import access_log, bootstrap, cluster, listener, matchers, route
from pyproxy.filters.http.router import config as router
from pyproxy.filters.network.http_connection_manager import config as manager

ROOT = Path(__file__).parents[2] / "pyproxy"

# Compiled and checked, and listed as not honoured (`parts.not_yet`).
NOT_YET: Final = {
    "RetryPolicyConfig.retry_on": "retries by policy",
    "RetryPolicyConfig.num_retries": "retries by policy",
    "RetryPolicyConfig.per_try_timeout": "retries by policy",
    "RetryPolicyConfig.per_try_idle_timeout": "retries by policy",
    "RetryPolicyConfig.status_codes": "retries by policy",
    "RetryPolicyConfig.back_off_base": "retries by policy",
    "RetryPolicyConfig.back_off_max": "retries by policy",
    "ForwardAction.upgrade_types": "upgrades",
    "ForwardAction.upgrades_off": "upgrades",
    "ForwardAction.max_grpc_timeout": "gRPC timeouts",
    "ForwardAction.grpc_timeout_offset": "gRPC timeouts",
    "RouteConfig.decorator": "tracing",
    "ClusterConfig.buffer_limit": "sizes of buffers",
    "ClusterConfig.respect_dns_ttl": "getaddrinfo tells no TTL",
    "ListenerConfig.buffer_limit": "sizes of buffers",
    "ForwardingOptions.unix_sockets_internal": "internal Unix sockets",
    "ForwardingOptions.represent_ipv4_remote_address_as_ipv4_mapped_ipv6": "mapped addresses",
    "HttpConnectionManagerConfig.upgrade_types": "upgrades",
    "HttpConnectionManagerConfig.access_log_flush_interval": "periodic log entries",
    "RouterConfig.respect_expected_rq_timeout": "timeouts of a proxy in front",
    "RouterConfig.strict_check_headers": "strict checks",
    "RouterConfig.dynamic_stats": "statistics",
}

# Read by what compiles, or without effect as long as something else is refused.
NEEDS_NO_READER: Final = {
    "Fraction.numerator": "read by RuntimeValues, which stands beside it",
    "FilterOverride.disabled": "no filter takes part in routes yet",
    "FilterConfig.disabled": "no filter but the terminal one yet",
    "FilterConfig.type_name": "tells people what a filter is",
    "ForwardAction.weighted_total": "the sum, for people",
    "RouteTableConfig.validate_clusters": "checked when it was compiled",
    "ClusterConfig.alt_stat_name": "part of `stat_name`",
    "ClusterConfig.transport_socket": "always plain text: others are refused",
    "FilterChainConfig.transport_socket": "always plain text: others are refused",
    "FilterChainConfig.transport_socket_connect_timeout": "for handshakes, of which there are none",
    "ListenerConfig.listener_filters": "always empty: all are refused",
    "ListenerConfig.listener_filters_timeout": "without listener filters there is nothing to wait for",
    "BootstrapConfig.header_prefix": "always x-envoy: another is listed as not honoured",
    "ForwardingOptions.match_upstream_scheme": "without TLS the scheme is http on both sides",
    "ForwardingOptions.set_client_cert_details": "without TLS there is no certificate",
    "HttpConnectionManagerConfig.codec_type": "HTTP/1 only: others are refused",
    "HttpConnectionManagerConfig.route_config_name": "RDS is refused",
}


@pytest.fixture(scope="module")
def live_code() -> str:
    files = [
        file
        for file in ROOT.rglob("*.py")
        if file.parent.name != "config"
        and file.stem not in ("config", "compile")
        and not file.stem.endswith("_compile")
    ]
    return "\n".join(file.read_text("utf-8") for file in files)


def fields() -> list[str]:
    modules: tuple[ModuleType, ...] = (access_log, bootstrap, cluster, listener, matchers, route, router, manager)
    return [
        f"{name}.{field.name}"
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
        for field in dataclasses.fields(value)
    ]


def test_every_value_has_a_reader_or_a_reason(live_code: str) -> None:
    unread = [one for one in fields() if not re.search(rf"\.{one.partition('.')[2]}\b", live_code)]
    assert [one for one in unread if one not in NOT_YET and one not in NEEDS_NO_READER] == []


def test_the_reasons_are_about_values_that_there_are() -> None:
    assert (NOT_YET.keys() | NEEDS_NO_READER.keys()) - set(fields()) == set()
