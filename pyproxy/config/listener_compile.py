"""Compiles listeners: protobuf -> `config.listener` values. Envoy: envoy.config.listener.v3.Listener."""

from __future__ import annotations

from typing import Final

from pyproxy.config.access_log_compile import compile_access_logs
from pyproxy.config.address import AddressConfig, compile_address
from pyproxy.config.chain_matcher_compile import compile_chain_matcher
from pyproxy.config.endpoint_compile import check_ip
from pyproxy.config.extensions import Category, CompileContext, Extension, check_order, compile_filter
from pyproxy.config.filter_chain_match import ANYTHING, compile_filter_chain_match
from pyproxy.config.listener import FilterChainConfig, FilterConfig, ListenerConfig
from pyproxy.config.listener_filter_compile import compile_listener_filters
from pyproxy.config.metadata import compile_metadata
from pyproxy.config.parts import part
from pyproxy.config.socket_option import SocketOption, compile_socket_options, fast_open
from pyproxy.config.transport_socket import compile_downstream_socket
from pyproxy.config.view import View

_DEFAULT_BUFFER: Final = 1024 * 1024
_HANDSHAKE_SECONDS: Final = 10.0
_FILTERS_SECONDS: Final = 15.0
_MOST_PIPE_BYTES: Final = 107

_NO_ADDRESSES: Final[tuple[AddressConfig, ...]] = ()


def compile_listener(view: View, context: CompileContext) -> ListenerConfig:
    """A `Listener`. Faults in one chain do not hide those in the others."""
    if view.has("api_listener"):
        view.fail("api_listener", "listeners of this kind are not supported", expected="address and filter_chains")
    internal = view.child("internal_listener") is not None
    # They concern UDP, draining while the configuration changes, limits that we do not have, and ways to accept.
    view.ignore("udp_listener_config", "bypass_overload_manager", "reuse_port")
    addresses = part(view.report, _NO_ADDRESSES, lambda: _no_addresses(view) if internal else _addresses(view))
    chains = view.each("filter_chains", lambda chain: _chain(chain, context))
    default = view.child("default_filter_chain")
    if not view.message.filter_chains and default is None:  # type: ignore[attr-defined]
        view.report.add((*view.path, "filter_chains"), "is empty", expected="at least one filter chain")
    matcher = part(view.report, None, lambda: compile_chain_matcher(view))
    if not view.has("filter_chain_matcher"):
        _check_matches(view)
    buffer = view.wrapped("per_connection_buffer_limit_bytes")
    reuse, bind = view.wrapped("enable_reuse_port"), view.wrapped("bind_to_port")
    timeout = view.seconds("listener_filters_timeout")
    return ListenerConfig(
        name=view.text("name") or _unnamed(addresses),
        addresses=addresses,
        filter_chains=chains,
        default_filter_chain=None if default is None else part(view.report, None, lambda: _chain(default, context)),
        chain_matcher=matcher,
        stat_prefix=view.text("stat_prefix"),
        buffer_limit=_DEFAULT_BUFFER if buffer is None else buffer,
        backlog=view.wrapped("tcp_backlog_size") or 0,
        reuse_port=reuse is None or bool(reuse),
        internal=internal,
        transparent=bool(view.wrapped("transparent")),
        freebind=bool(view.wrapped("freebind")),
        bind=bind is None or bool(bind),
        use_original_dst=bool(view.wrapped("use_original_dst")),
        socket_options=part(view.report, (), lambda: _socket_options(view)),
        access_logs=part(view.report, (), lambda: compile_access_logs(view)),
        ignores_global_limit=bool(view.scalar("ignore_global_conn_limit")),
        accepts_at_once=view.wrapped("max_connections_to_accept_per_socket_event") or 0,
        listener_filters=compile_listener_filters(view, context),
        filters_timeout=_FILTERS_SECONDS if timeout is None else timeout,
        continue_on_timeout=bool(view.scalar("continue_on_listener_filters_timeout")),
        traffic_direction=view.enum("traffic_direction"),
        metadata=compile_metadata(view),
    )


def _no_addresses(view: View) -> tuple[AddressConfig, ...]:
    """Of a listener that takes connections of this process."""
    if view.has("address"):
        view.fail("address", "is set beside internal_listener, which is known by its name", expected="one of the two")
    if not view.text("name"):
        view.fail("name", "is required: it is what clusters connect to", expected="a name")
    return ()


def _addresses(view: View) -> tuple[AddressConfig, ...]:
    """The address and the additional ones."""
    first = _address(view.need("address"))
    return first, *view.each("additional_addresses", lambda more: _address(more.need("address")))


def _socket_options(view: View) -> tuple[tuple[SocketOption, ...], ...]:
    """Those of the listener; an additional address can have others in their place."""
    own = compile_socket_options(view)
    queue = view.wrapped("tcp_fast_open_queue_length")
    more = () if queue is None else (fast_open(queue),)
    found = [(*own, *more)]
    for address in view.children("additional_addresses"):
        override = address.child("socket_options")
        found.append((*(own if override is None else compile_socket_options(override)), *more))
    return tuple(found) if any(found) else ()


def _address(view: View) -> AddressConfig:
    address = compile_address(view)
    if address.pipe:
        pipe = view.need("pipe")
        if len(address.pipe.encode()) > _MOST_PIPE_BYTES:
            pipe.fail("path", f"is longer than a Unix socket path may be ({_MOST_PIPE_BYTES} bytes)")
        if address.mode and address.pipe.startswith("@"):
            pipe.fail("mode", "an abstract socket has no mode")
        return address
    socket = view.need("socket_address")
    check_ip(socket, address.host)
    if address.ipv4_compat and ":" not in address.host:
        socket.fail("ipv4_compat", "is for IPv6 addresses, such as ::", expected="false")
    return address


def _unnamed(addresses: tuple[AddressConfig, ...]) -> str:
    return str(addresses[0]) if addresses else ""


def _chain(view: View, context: CompileContext) -> FilterChainConfig:
    """A `FilterChain`."""
    tls = part(view.report, None, lambda: compile_downstream_socket(view))
    found: list[tuple[FilterConfig, Extension]] = []
    faults = len(view.report.faults)
    for entry in view.children("filters"):
        with view.report.isolate():
            one = compile_filter(entry, context, Category.NETWORK_FILTER)
            if one is not None:
                found.append(one)
    if len(view.report.faults) == faults:
        if not found:
            view.fail("filters", "is empty: connections could only be closed", expected="at least one filter")
        check_order(view, "filters", found, "network")
    handshake = view.seconds("transport_socket_connect_timeout")  # plain text has no handshake
    return FilterChainConfig(
        name=view.text("name"),
        filters=tuple(config for config, _ in found),
        tls=tls,
        handshake_seconds=handshake or _HANDSHAKE_SECONDS,
        metadata=compile_metadata(view),
        match=part(view.report, ANYTHING, lambda: compile_filter_chain_match(view.child("filter_chain_match"))),
    )


def _check_matches(view: View) -> None:
    """Two chains that match the same leave one of them unreachable."""
    seen: dict[bytes, int] = {}
    for at, chain in enumerate(view.message.filter_chains):  # type: ignore[attr-defined]
        match = chain.filter_chain_match.SerializeToString(deterministic=True)
        if match in seen:
            path = (*view.path, "filter_chains", at)
            view.report.add(path, f"matches the same connections as filter_chains[{seen[match]}]")
        seen.setdefault(match, at)
