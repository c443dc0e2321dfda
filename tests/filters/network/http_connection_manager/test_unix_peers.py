"""Downstreams on Unix sockets: they have no IP address, so nothing is said of one."""

from __future__ import annotations

import pytest

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.filters.network.http_connection_manager.config import ForwardingOptions, HttpConnectionManagerConfig
from pyproxy.filters.network.http_connection_manager.request_headers import RequestPreparation
from pyproxy.http.message import Headers, Request
from pyproxy.http.request_id import RequestIds
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo

XFF = (b"x-forwarded-for", b"1.2.3.4")
XFP = (b"x-forwarded-proto", b"http")
INTERNAL = (b"x-envoy-internal", b"true")


def prepared(options: ForwardingOptions, *pairs: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    connection = ConnectionInfo()
    connection.take_addresses(("/run/socket", 0), ("", 0))
    info = StreamInfo(0.0, 0.0, connection)
    request = Request(b"GET", b"/", b"h", Headers(list(pairs)), info, None, b"")
    config = HttpConnectionManagerConfig("p", forwarding=options)
    RequestPreparation(config, RequestIds(), NodeConfig())(request)
    return [pair for pair in request.headers.pairs if pair[0] != b"x-request-id"]


@pytest.mark.parametrize(
    ("options", "came", "goes"),
    [
        (ForwardingOptions(), [], [XFP]),
        (ForwardingOptions(use_remote_address=True), [], [XFP]),
        (ForwardingOptions(use_remote_address=True), [XFF], [XFF, XFP]),
        (ForwardingOptions(use_remote_address=True, unix_sockets_internal=True), [], [XFP, INTERNAL]),
        (ForwardingOptions(use_remote_address=True, unix_sockets_internal=True), [XFF], [XFF, XFP]),
        (ForwardingOptions(unix_sockets_internal=True), [], [XFP]),
        (ForwardingOptions(append_x_forwarded_port=True), [], [XFP]),
        (
            ForwardingOptions(use_remote_address=True, unix_sockets_internal=True, xff_num_trusted_hops=1),
            [XFF],
            [XFF, XFP, (b"x-envoy-external-address", b"1.2.3.4")],
        ),
    ],
)
def test_as_envoy_does(
    options: ForwardingOptions, came: list[tuple[bytes, bytes]], goes: list[tuple[bytes, bytes]]
) -> None:
    assert prepared(options, *came) == goes
