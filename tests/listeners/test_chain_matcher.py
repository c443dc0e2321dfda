"""The choice of a filter chain, criterion by criterion."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from pyproxy.config.filter_chain_match import FilterChainMatch
from pyproxy.listeners.chain_matcher import ConnectionFacts, FilterChainMatcher

net, ip = ipaddress.ip_network, ipaddress.ip_address


def find(chains: dict[str, dict[str, Any]], **facts: Any) -> str | None:
    matcher = FilterChainMatcher(((FilterChainMatch(**match), name) for name, match in chains.items()), "default")
    return matcher.find(ConnectionFacts(**facts))


@pytest.mark.parametrize(
    ("port", "address", "chain"),
    [(80, "10.0.0.1", "web"), (443, "10.1.2.3", "near"), (443, "10.2.0.1", "far"), (443, "11.0.0.1", "any")],
)
def test_the_port_counts_first_and_the_longest_range_next(port: int, address: str, chain: str) -> None:
    chains = {
        "web": {"destination_port": 80},
        "near": {"prefix_ranges": (net("10.1.0.0/16"),)},
        "far": {"prefix_ranges": (net("10.0.0.0/8"),)},
        "any": {},
    }
    assert find(chains, destination_port=port, destination=ip(address)) == chain


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("www.a.test", "exact"),
        ("x.a.test", "suffix"),
        ("y.x.a.test", "suffix"),
        ("a.test", "none"),
        ("b.test", "none"),
        ("", "none"),
        ("x_y." + "l" * 70 + ".a.test", "suffix"),
    ],
)
def test_server_names(name: str, chain: str) -> None:
    chains = {"exact": {"server_names": ("www.a.test",)}, "suffix": {"server_names": (".a.test",)}, "none": {}}
    assert find(chains, server_name=name) == chain


def test_protocols() -> None:
    chains = {
        "h2": {"transport_protocol": "tls", "application_protocols": ("h2",)},
        "tls": {"transport_protocol": "tls"},
        "plain": {"transport_protocol": "raw_buffer"},
    }
    assert find(chains) == "plain"
    assert find(chains, transport_protocol="tls", application_protocols=("http/1.1",)) == "tls"
    assert find(chains, transport_protocol="tls", application_protocols=("http/1.1", "h2")) == "h2"


@pytest.mark.parametrize(
    ("source", "port", "chain"),
    [("127.0.0.1", 5, "local"), ("9.9.9.9", 5, "local"), ("8.8.8.8", 7, "port"), ("8.8.8.8", 5, "default")],
)
def test_sources(source: str, port: int, chain: str) -> None:
    chains = {
        "local": {"source_type": "SAME_IP_OR_LOOPBACK"},
        "port": {"source_type": "EXTERNAL", "source_prefix_ranges": (net("8.8.0.0/16"),), "source_ports": (7,)},
    }
    assert find(chains, destination=ip("9.9.9.9"), source=ip(source), source_port=port) == chain


def test_what_was_taken_for_the_port_is_not_left_for_another_one() -> None:
    """Envoy does not go back either."""
    chains = {"named": {"destination_port": 443, "server_names": ("a.test",)}, "any": {}}
    assert find(chains, destination_port=443, server_name="b.test") == "default"
    assert find(chains, destination_port=80, server_name="b.test") == "any"
