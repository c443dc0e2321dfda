"""The TCP proxy as a value."""

from __future__ import annotations

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.filters.network.tcp_proxy.compile import compile as compile_tcp_proxy
from pyproxy.filters.network.tcp_proxy.config import TcpProxyConfig
from tests.config.compiling import CONTEXT, unread, view

TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
SPLIT = "weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 3}]}"


def labels(**named: str) -> str:
    return f"{{filter_metadata: {{envoy.lb: {named}}}}}"


@pytest.mark.parametrize(
    ("text", "value", "listed"),
    [
        ("{stat_prefix: t, cluster: a}", TcpProxyConfig("t", (("a", 1),)), []),
        (f"{{stat_prefix: t, {SPLIT}}}", TcpProxyConfig("t", (("a", 1), ("b", 3))), []),
        (
            "{stat_prefix: t, cluster: a, idle_timeout: 0s, max_connect_attempts: 4}",
            TcpProxyConfig("t", (("a", 1),), idle_timeout=0.0, max_connect_attempts=4),
            [],
        ),
        (
            "{stat_prefix: t, cluster: a, hash_policy: [{source_ip: {}}]}",
            TcpProxyConfig("t", (("a", 1),), hash_source=True),
            [],
        ),
        (
            "{stat_prefix: t, cluster: a, hash_policy: [{filter_state: {key: k}}]}",
            TcpProxyConfig("t", (("a", 1),), hash_state="k"),
            [],
        ),
        (
            (
                f"{{stat_prefix: t, metadata_match: {labels(x='o', y='o')}, weighted_clusters: {{clusters: "
                f"[{{name: a, weight: 1, metadata_match: {labels(x='i')}}}, {{name: b, weight: 3}}]}}}}"
            ),
            TcpProxyConfig(
                "t",
                (("a", 1), ("b", 3)),
                subset=(("x", '"o"'), ("y", '"o"')),
                subsets=((("x", '"i"'), ("y", '"o"')), (("x", '"o"'), ("y", '"o"'))),
            ),
            [],
        ),
    ],
)
def test_a_tcp_proxy_becomes_a_value(text: str, value: TcpProxyConfig, listed: list[str]) -> None:
    seen = view(TCP_PROXY, text)
    assert compile_tcp_proxy(seen, CONTEXT) == value
    assert unread(seen) == listed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{stat_prefix: t}", "the name of a cluster"),
        ("{stat_prefix: t, cluster: a, tunneling_config: {hostname: h, post_path: /}}", "without use_post"),
        (
            "{stat_prefix: t, cluster: a, flush_access_log_on_connected: true, access_log_options: {}}",
            "access_log_options alone",
        ),
    ],
)
def test_what_is_refused_is_told(text: str, told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        compile_tcp_proxy(view(TCP_PROXY, text), CONTEXT)
