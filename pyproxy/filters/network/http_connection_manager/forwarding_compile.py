"""Compiles what the connection manager does to paths, hosts and addresses: protobuf -> values of `config.py`."""

from __future__ import annotations

import ipaddress
from typing import Final

from pyproxy.config.enums import compile_enum
from pyproxy.config.view import View
from pyproxy.filters.network.http_connection_manager.config import EscapedSlashes, ForwardingOptions, PathOptions

_CLIENT_CERT: Final = ("SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY")


def compile_paths(view: View) -> PathOptions:
    """How paths and hosts are normalised."""
    matching = bool(view.scalar("strip_matching_host_port"))
    any_port = bool(view.scalar("strip_any_host_port"))
    if matching and any_port:
        view.fail("strip_any_host_port", "is set, and strip_matching_host_port too", expected="one of the two")
    return PathOptions(
        normalize=bool(view.wrapped("normalize_path")),
        merge_slashes=bool(view.scalar("merge_slashes")),
        escaped_slashes=_escaped_slashes(view),
        strip_matching_host_port=matching,
        strip_any_host_port=any_port,
        strip_trailing_host_dot=bool(view.scalar("strip_trailing_host_dot")),
    )


def compile_forwarding(view: View) -> ForwardingOptions:
    """x-forwarded-for and its kin."""
    cidrs, sockets = _internal_addresses(view)
    scheme = view.child("scheme_header_transformation")
    forward = view.enum("forward_client_cert_details")
    if forward not in _CLIENT_CERT:
        view.fail(
            "forward_client_cert_details", f"unknown value {forward}", expected=f"one of {', '.join(_CLIENT_CERT)}"
        )
    view.ignore("represent_ipv4_remote_address_as_ipv4_mapped_ipv6")  # it makes no difference in Envoy 1.40 either
    return ForwardingOptions(
        use_remote_address=bool(view.wrapped("use_remote_address")),
        xff_num_trusted_hops=view.scalar("xff_num_trusted_hops"),
        skip_xff_append=bool(view.scalar("skip_xff_append")),
        append_x_forwarded_port=bool(view.scalar("append_x_forwarded_port")),
        via=view.text("via").encode(),
        internal_cidrs=cidrs,
        unix_sockets_internal=sockets,
        scheme_overwrite=b"" if scheme is None else scheme.text("scheme_to_overwrite").encode(),
        forward_client_cert=forward,
        client_cert_details=_client_cert_details(view.child("set_current_client_cert_details")),
    )


def _client_cert_details(view: View | None) -> tuple[str, ...]:
    """In the order in which they are written."""
    if view is None:
        return ()
    wanted = {name: bool(view.scalar(name)) for name in ("cert", "chain", "uri", "dns")}
    wanted["subject"] = bool(view.wrapped("subject"))
    return tuple(name for name in ("cert", "chain", "subject", "uri", "dns") if wanted[name])


def _escaped_slashes(view: View) -> EscapedSlashes:
    if view.enum("path_with_escaped_slashes_action") == "IMPLEMENTATION_SPECIFIC_DEFAULT":
        return EscapedSlashes.KEEP_UNCHANGED
    return compile_enum(view, "path_with_escaped_slashes_action", EscapedSlashes)


def _internal_addresses(view: View) -> tuple[tuple[str, ...], bool]:
    config = view.child("internal_address_config")
    if config is None:
        return (), False
    return config.each("cidr_ranges", _cidr), bool(config.scalar("unix_sockets"))


def _cidr(view: View) -> str:
    """As Envoy: without a length it is 0, and a length beyond the address counts as the whole address."""
    prefix = view.text("address_prefix")
    try:
        address = ipaddress.ip_address(prefix)
    except ValueError:
        view.fail("address_prefix", f"{prefix!r} is not an IP address", expected="such as 10.0.0.0")
    length = view.wrapped("prefix_len") or 0
    return str(ipaddress.ip_network((address, min(length, address.max_prefixlen)), strict=False))
