"""Objects of the filter state that pyproxy goes by, and how they get to a connection (Envoy: well-known filter state).

Security posture: a value may be what a downstream said, so where it chooses a cluster or an upstream, that downstream
chooses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Final

from pyproxy.clusters.dynamic_host import HOST_STATE, PORT_STATE
from pyproxy.config.filter_state import SharedState
from pyproxy.http.stream_info import ConnectionInfo

STRING: Final = "envoy.string"
HASHABLE: Final = "envoy.hashable_string"
"""A string that hosts may be chosen by; so may any other here."""
LOCAL: Final = "envoy.filters.listener.original_dst.local_ip"
REMOTE: Final = "envoy.filters.listener.original_dst.remote_ip"


def apply_state(info: ConnectionInfo, key: str, kind: str, value: str) -> bool:
    """Let a connection have it. False where the value is none for its kind."""
    effect = _EFFECTS.get(kind)
    if effect is not None and not effect(info, value):
        return False
    if info.filter_state is None:
        info.filter_state = {}
    info.filter_state[key] = value
    return True


def share_state(info: ConnectionInfo, one: SharedState) -> None:
    """Let it go along with connections to upstreams."""
    info.shared_state = (*(before for before in info.shared_state if before.key != one.key), one)
    info.wants_more = True


def address_of(value: str) -> tuple[str, int] | None:
    """Of `1.2.3.4:80` and `[::1]:80`."""
    host, _, port = value.rpartition(":")
    if not port.isascii() or not port.isdecimal() or int(port) > 65535:
        return None
    try:
        return str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError:
        return None


def _choose_cluster(info: ConnectionInfo, value: str) -> bool:
    info.tcp_cluster = value
    return True


def _name_upstream(info: ConnectionInfo, value: str) -> bool:
    info.upstream_server_name = value
    info.wants_more = True
    return True


def _check_upstream(info: ConnectionInfo, value: str) -> bool:
    info.upstream_sans = tuple(value.split(","))
    info.wants_more = True
    return True


def _send_to(info: ConnectionInfo, value: str) -> bool:
    """Whether it is an address and a port."""
    host, _, port = value.rpartition(":")
    if not port.isdigit() or int(port) > 65535 or not host:
        return False
    info.original_destination = (host.strip("[]"), int(port))
    return True


def _is_address(info: ConnectionInfo, value: str) -> bool:
    """For the listener filter original_dst of a connection to which it is passed."""
    del info
    return address_of(value) is not None


_EFFECTS: Final[dict[str, Callable[[ConnectionInfo, str], bool]]] = {
    "envoy.tcp_proxy.cluster": _choose_cluster,
    "envoy.network.upstream_server_name": _name_upstream,
    "envoy.network.upstream_subject_alt_names": _check_upstream,
    "envoy.network.transport_socket.original_dst_address": _send_to,
    LOCAL: _is_address,
    REMOTE: _is_address,
}
KINDS: Final = (STRING, HASHABLE, HOST_STATE, PORT_STATE, *_EFFECTS)
