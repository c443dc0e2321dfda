"""Filter chains that a matcher chooses by their names: Envoy and pyproxy."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.network.test_client_hello import hello
from tests.oracle.tls_proxies import OWNERS, Json, Proxy, two_proxies
from tests.server.bootstraps import at, bootstrap
from tests.support.ports import LOOPBACK

DIRECT = "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config"
LISTENER_FILTERS = "type.googleapis.com/envoy.extensions.filters.listener."
INPUTS = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3."
IP = "type.googleapis.com/xds.type.matcher.v3.IPMatcher"
CHAINS = ("a", "b", "c")
pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("chain-matchers")]


def go(name: str) -> Json:
    typed = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": name}
    return {"action": {"name": name, "typed_config": typed}}


def source(name: str) -> Json:
    return {"name": name, "typed_config": {"@type": f"{INPUTS}{name}"}}


def single(name: str, **match: Any) -> Json:
    return {"single_predicate": {"input": source(name), "value_match": match}}


def choose(*fields: tuple[Json, Json], **more: Any) -> Json:
    return {"matcher_list": {"matchers": [{"predicate": one, "on_match": then} for one, then in fields]}, **more}


def tree(name: str, kind: str, values: dict[str, Json], **more: Any) -> Json:
    return {"matcher_tree": {"input": source(name), kind: {"map": values}}, **more}


def ranges(name: str, *rows: tuple[list[str], Json, bool], **more: Any) -> Json:
    matchers = [
        {
            "ranges": [
                {"address_prefix": one.partition("/")[0], "prefix_len": int(one.partition("/")[2])} for one in cidrs
            ],
            "on_match": then,
            "exclusive": exclusive,
        }
        for cidrs, then, exclusive in rows
    ]
    custom = {"name": "ip", "typed_config": {"@type": IP, "range_matchers": matchers}}
    return {"matcher_tree": {"input": source(name), "custom_match": custom}, **more}


def v1(source: str, destination: str, source_port: int = 1000, port: int = 443) -> bytes:
    return f"PROXY TCP4 {source} {destination} {source_port} {port}\r\n".encode()


NOWHERE = choose((single("DestinationPortInput", exact="1"), go("c")))
"""Finds nothing."""
MATCHERS: dict[str, Json] = {
    "port": tree("DestinationPortInput", "exact_match_map", {"443": go("a"), "80": go("b")}, on_no_match=go("c")),
    "no-such-chain": tree("DestinationPortInput", "exact_match_map", {"443": go("x")}),
    "nothing": {"on_no_match": go("b")},
    "list": choose(
        (single("SourceIPInput", prefix="10."), go("a")),
        (single("ServerNameInput", suffix=".test", ignore_case=True), go("b")),
        (single("SourcePortInput", safe_regex={"google_re2": {}, "regex": "10.*"}), go("c")),
    ),
    "logic": choose(
        (
            {
                "and_matcher": {
                    "predicate": [single("SourceIPInput", contains="1"), single("DestinationIPInput", exact="5.6.7.8")]
                }
            },
            go("a"),
        ),
        (
            {
                "or_matcher": {
                    "predicate": [
                        single("DestinationPortInput", exact="80"),
                        single("DestinationPortInput", exact="81"),
                    ]
                }
            },
            go("b"),
        ),
        ({"not_matcher": single("TransportProtocolInput", exact="tls")}, go("c")),
    ),
    "nested-nothing": choose(
        (single("DestinationPortInput", exact="443"), {"matcher": NOWHERE}),
        (single("DestinationPortInput", prefix="4"), go("b")),
        on_no_match=go("a"),
    ),
    "nested-nothing-in-tree": tree(
        "DestinationPortInput", "exact_match_map", {"443": {"matcher": NOWHERE}}, on_no_match=go("a")
    ),
    "prefixes": tree(
        "SourceIPInput",
        "prefix_match_map",
        {"10.": go("a"), "10.1.": {"matcher": NOWHERE}, "10.1.2": go("b")},
        on_no_match=go("c"),
    ),
    "ranges": ranges(
        "SourceIPInput",
        (["10.0.0.0/8", "11.0.0.0/8"], go("a"), False),
        (["10.1.0.0/16"], {"matcher": NOWHERE}, False),
        (["10.2.0.0/16"], {"matcher": NOWHERE}, True),
        (["0.0.0.0/0"], go("b"), False),
        on_no_match=go("c"),
    ),
    "protocols": tree(
        "ApplicationProtocolInput", "exact_match_map", {"'h2','http/1.1'": go("a"), "'http/1.1'": go("b")}
    ),
    "type": tree("SourceTypeInput", "exact_match_map", {"local": go("a")}, on_no_match=go("b")),
    "direct": tree("DirectSourceIPInput", "exact_match_map", {LOOPBACK: go("a")}),
    "transport": tree("TransportProtocolInput", "exact_match_map", {"tls": go("a"), "raw_buffer": go("b")}),
}
COMERS: dict[str, bytes] = {
    "near": v1("10.1.2.3", "5.6.7.8"),
    "nearer": v1("10.1.9.3", "5.6.7.9", 2000),
    "exclusive": v1("10.2.9.3", "5.6.7.9", 2000, 81),
    "far": v1("11.1.2.3", "5.6.7.8", 1000, 80),
    "same": v1("5.6.7.8", "5.6.7.8", 2000, 445),
    "tls": v1("12.1.2.3", "5.6.7.9", 2000) + hello("A.test", "h2", "http/1.1"),
    "tls-other": v1("12.1.2.3", "5.6.7.9", 1000, 80) + hello("a.other", "http/1.1"),
    "unknown": b"PROXY UNKNOWN\r\n",
}


def _chain(name: str) -> Json:
    typed = {"@type": DIRECT, "response": {"inline_string": name}}
    return {"name": name, "filters": [{"name": "d", "typed_config": typed}]}


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    inspect = [
        {"name": "p", "typed_config": {"@type": f"{LISTENER_FILTERS}proxy_protocol.v3.ProxyProtocol"}},
        {"name": "t", "typed_config": {"@type": f"{LISTENER_FILTERS}tls_inspector.v3.TlsInspector"}},
    ]

    def make(proxy: Proxy) -> Json:
        listeners = []
        for name, matcher in MATCHERS.items():
            for default in (False, True):
                full = f"{name}-default" if default else name
                one = {
                    "name": full,
                    "address": at(proxy.ports[full]),
                    "listener_filters": inspect,
                    "filter_chains": [_chain(chain) for chain in CHAINS],
                    "filter_chain_matcher": matcher,
                    # Else a client that says nothing would be waited for.
                    "listener_filters_timeout": "0.05s",
                    "continue_on_listener_filters_timeout": True,
                }
                if default:
                    one["default_filter_chain"] = _chain("default")
                listeners.append(one)
        return bootstrap(listeners, [])

    names = [full for name in MATCHERS for full in (name, f"{name}-default")]
    yield from two_proxies(tmp_path_factory.mktemp("matchers"), names, make)


@pytest.mark.parametrize("comer", COMERS)
@pytest.mark.parametrize("name", MATCHERS)
def test_the_same_chain_is_chosen(proxies: dict[str, Proxy], name: str, comer: str) -> None:
    for full in (name, f"{name}-default"):
        envoy, pyproxy = (_answer(proxies[owner].ports[full], COMERS[comer]) for owner in OWNERS)
        assert pyproxy == envoy


def _answer(port: int, data: bytes) -> bytes:
    with socket.create_connection((LOOPBACK, port), timeout=5) as sock, contextlib.suppress(OSError):
        sock.sendall(data)
        return sock.recv(100)
    return b""
