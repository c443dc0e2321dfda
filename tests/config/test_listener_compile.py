"""Listeners as values."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.address import AddressConfig
from pyproxy.config.listener import ListenerConfig
from pyproxy.config.listener_compile import compile_listener
from tests.config.compiling import CONTEXT, MANAGER, ROUTER, URL, as_yaml, listener, manager, problems, unread, view

LISTENER = "envoy.config.listener.v3.Listener"
CHAIN = listener()["filter_chains"][0]
RAW = f"{URL}envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
LOCALITY = f"{URL}envoy.config.core.v3.Locality"


def compiled(**fields: Any) -> tuple[ListenerConfig, list[str], list[str]]:
    seen = view(LISTENER, as_yaml(listener(**fields)))
    value = compile_listener(seen, CONTEXT)
    return value, problems(seen), unread(seen)


def socket(address: str = "127.0.0.1", port: int = 0, **fields: Any) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port, **fields}}


def test_a_listener_has_its_filters_by_type() -> None:
    value, faults, listed = compiled()
    assert (value.name, value.addresses) == ("l", (AddressConfig("127.0.0.1", 0),))
    ((only,),) = (chain.filters for chain in value.filter_chains)
    assert (only.name, only.type_name) == ("hcm", MANAGER.removeprefix(URL))
    assert only.config.stat_prefix == "p"
    assert (faults, listed) == ([], [])


@pytest.mark.parametrize(
    ("fields", "attribute", "expected"),
    [
        ({"stat_prefix": "s"}, "stat_prefix", "s"),
        ({"per_connection_buffer_limit_bytes": 5}, "buffer_limit", 5),
        ({"tcp_backlog_size": 7}, "backlog", 7),
        ({}, "reuse_port", True),
        ({"enable_reuse_port": False}, "reuse_port", False),
        ({"transparent": True}, "transparent", True),
        ({"freebind": True}, "freebind", True),
        ({"traffic_direction": "OUTBOUND"}, "traffic_direction", "OUTBOUND"),
        ({"metadata": {"filter_metadata": {"a": {"b": 1}}}}, "metadata", {"a": {"b": 1}}),
        ({"address": {"pipe": {"path": "@x"}}}, "addresses", (AddressConfig(pipe="@x"),)),
        ({"address": socket("::", ipv4_compat=True)}, "addresses", (AddressConfig("::", ipv4_compat=True),)),
        (
            {"additional_addresses": [{"address": socket("127.0.0.2", 5)}]},
            "addresses",
            (AddressConfig("127.0.0.1", 0), AddressConfig("127.0.0.2", 5)),
        ),
        ({"name": "", "address": socket(port=8080)}, "name", "127.0.0.1:8080"),
    ],
)
def test_what_a_listener_says_is_in_its_value(fields: dict[str, Any], attribute: str, expected: object) -> None:
    value, faults, listed = compiled(**fields)
    assert getattr(value, attribute) == expected
    assert faults == []
    assert listed == []


def test_the_default_chain_and_access_logs_are_kept() -> None:
    log = {"name": "x", "typed_config": {"@type": f"{URL}envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"}}
    value, faults, listed = compiled(filter_chains=[], default_filter_chain={**CHAIN, "name": "d"}, access_log=[log])
    assert (faults, listed) == ([], [])
    assert len(value.access_logs) == 1
    assert value.default_filter_chain is not None
    assert value.default_filter_chain.name == "d"


@pytest.mark.parametrize(
    ("chain", "listed"),
    [
        ({"filter_chain_match": {}}, []),
        ({"filter_chain_match": {"destination_port": 80}}, []),
        ({"transport_socket": {"name": "raw", "typed_config": {"@type": RAW}}}, []),
        ({"transport_socket_connect_timeout": "1s"}, []),
        ({"use_proxy_proto": True}, ["use_proxy_proto"]),
    ],
)
def test_chains_are_honoured_or_listed(chain: dict[str, Any], listed: list[str]) -> None:
    assert compiled(filter_chains=[{**CHAIN, **chain}])[1:] == ([], listed)


@pytest.mark.parametrize(
    ("fields", "faults"),
    [
        ({"address": None}, ["address: is required"]),
        ({"address": socket("localhost")}, ["address.socket_address.address: 'localhost' is not an IP address"]),
        ({"address": socket(protocol="UDP")}, ["address.socket_address.protocol: UDP is not supported"]),
        ({"filter_chains": []}, ["filter_chains: is empty"]),
        ({"filter_chains": [CHAIN, CHAIN]}, ["filter_chains[1]: matches the same connections as filter_chains[0]"]),
        ({"filter_chains": [{}]}, ["filter_chains[0].filters: is empty"]),
        (
            {"filter_chains": [{"filters": CHAIN["filters"] * 2}]},
            ["filter_chains[0].filters: the terminal filter 'hcm' is not the last of the network filter chain"],
        ),
        (
            {"filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager"}]}]},
            ["filter_chains[0].filters[0].typed_config: the network filter 'envoy.filters.network.http_conn"],
        ),
        (
            {"listener_filters": [{"name": "x", "typed_config": {"@type": LOCALITY}}]},
            ["listener_filters[0].typed_config: the listener filter 'x' of type envoy.config.core.v3.Locality is not"],
        ),
        (
            {"filter_chains": [{**CHAIN, "transport_socket": {"name": "tls"}}]},
            ["filter_chains[0].transport_socket.typed_config: the transport socket 'tls' has none"],
        ),
        (
            # One chain's faults do not hide the other's.
            {
                "filter_chains": [
                    {"filters": [{"name": "h", "typed_config": manager(codec_type="HTTP3")}]},
                    {
                        "filter_chain_match": {"destination_port": 1},
                        "filters": [{"name": "h", "typed_config": manager(http_filters=[ROUTER, ROUTER])}],
                    },
                ]
            },
            [
                "filter_chains[0].filters[0].typed_config.codec_type: HTTP3 is not supported yet",
                "filter_chains[1].filters[0].typed_config.http_filters: the terminal filter",
            ],
        ),
    ],
)
def test_what_cannot_be_is_a_fault(fields: dict[str, Any], faults: list[str]) -> None:
    found = compiled(**fields)[1]
    assert [one[: len(start)] for one, start in zip(found, faults, strict=True)] == faults


def test_a_filter_by_its_old_name_comes_with_its_type() -> None:
    seen = view(LISTENER, as_yaml(listener(config=manager(http_filters=[{"name": "envoy.filters.http.router"}]))))
    compile_listener(seen, CONTEXT)
    (fault,) = seen.report.faults
    assert fault.nearest == ROUTER["typed_config"]["@type"]  # type: ignore[index]
