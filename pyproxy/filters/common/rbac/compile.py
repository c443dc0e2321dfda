"""Compiles who may do what: protobuf -> `RbacConfig`. Envoy: envoy.config.rbac.v3.RBAC.

What is not supported is a fault and never passed over: a rule that is left out lets in whom it should keep out.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Final

from pyproxy.config.matcher_compile import compile_header_match, compile_string_match
from pyproxy.config.view import View
from pyproxy.filters.common.rbac.config import (
    Action,
    AddressOf,
    AllOf,
    AnyOf,
    Anything,
    Authenticated,
    HasHeader,
    HasMetadata,
    HasPath,
    InNetwork,
    Not,
    Policy,
    RbacConfig,
    Rule,
    ToPort,
    ToServer,
)
from pyproxy.filters.common.rbac.metadata_compile import compile_metadata_match

_MOST_PORT: Final = 65536
"""As the end of a range, which is not included."""
_ADDRESSES: Final = {
    "destination_ip": AddressOf.DESTINATION,
    "source_ip": AddressOf.SOURCE,
    "direct_remote_ip": AddressOf.DIRECT_REMOTE,
    "remote_ip": AddressOf.REMOTE,
}
_CEL: Final = ("condition", "checked_condition")


def compile_rbac(view: View, *, of_requests: bool) -> RbacConfig:
    """An `RBAC`. Rules about headers are refused where there are no requests (Envoy)."""
    action = view.enum("action")
    if action not in Action.__members__:
        view.fail("action", f"unknown value {action}", expected=f"one of {', '.join(Action.__members__)}")
    policies: list[Policy] = []
    for name, policy in view.entries("policies").items():  # in the order of the names, which is Envoy's
        with view.report.isolate():
            policies.append(_policy(name, policy, of_requests=of_requests))
    return RbacConfig(Action[action], tuple(policies))


def _policy(name: str, view: View, *, of_requests: bool) -> Policy:
    for one in _CEL:
        if view.has(one):
            view.fail(one, "conditions in CEL are not supported yet", expected="permissions and principals")
    view.ignore("cel_config")  # of conditions
    return Policy(
        name,
        permissions=view.each("permissions", lambda one: _permission(one, of_requests=of_requests)),
        principals=view.each("principals", lambda one: _principal(one, of_requests=of_requests)),
    )


def _permission(view: View, *, of_requests: bool) -> Rule:
    """A `Permission`."""

    def inner(one: View) -> Rule:
        return _permission(one, of_requests=of_requests)

    kind = view.oneof("rule")
    match kind:
        case "and_rules":
            return AllOf(view.need(kind).each("rules", inner))
        case "or_rules":
            return AnyOf(view.need(kind).each("rules", inner))
        case "not_rule":
            return Not(inner(view.need(kind)))
        case "destination_port":
            port = int(view.scalar(kind))
            return ToPort(port, port + 1)
        case "destination_port_range":
            return _port_range(view.need(kind))
        case "requested_server_name":
            return ToServer(compile_string_match(view.need(kind)))
        case _:
            return _common(view, kind, of_requests=of_requests)


def _principal(view: View, *, of_requests: bool) -> Rule:
    """A `Principal`."""

    def inner(one: View) -> Rule:
        return _principal(one, of_requests=of_requests)

    kind = view.oneof("identifier")
    match kind:
        case "and_ids":
            return AllOf(view.need(kind).each("ids", inner))
        case "or_ids":
            return AnyOf(view.need(kind).each("ids", inner))
        case "not_id":
            return Not(inner(view.need(kind)))
        case "authenticated":
            name = view.need(kind).child("principal_name")
            return Authenticated(None if name is None else compile_string_match(name))
        case _:
            return _common(view, kind, of_requests=of_requests)


def _common(view: View, kind: str | None, *, of_requests: bool) -> Rule:
    """What may stand in a permission as well as in a principal, or in neither."""
    match kind:
        case "any":
            view.ignore(kind)  # it can only be true
            return Anything()
        case "header" if of_requests:
            return HasHeader(compile_header_match(view.need(kind)))
        case "header":
            view.fail(kind, "a connection has no headers", expected="a rule that is not about requests")
        case "url_path":
            return HasPath(compile_string_match(view.need(kind).need("path")))
        case "destination_ip" | "source_ip" | "direct_remote_ip" | "remote_ip":
            return _network(view.need(kind), _ADDRESSES[kind])
        case "metadata":
            return HasMetadata(compile_metadata_match(view.need(kind)))
        case "sourced_metadata":
            sourced = view.need(kind)
            match = compile_metadata_match(sourced.need("metadata_matcher"))
            return HasMetadata(match, of_route=sourced.enum("metadata_source") == "ROUTE")
        case None:
            view.fail("", "says nothing", expected="a rule, such as any: true")
        case _:
            view.fail(kind, "rules of this kind are not supported yet", expected="another rule")


def _network(view: View, of: AddressOf) -> InNetwork:
    """A `CidrRange`. As Envoy: without a length it is 0, and one beyond the address counts as the whole address."""
    prefix = view.text("address_prefix")
    try:
        address = ip_address(prefix)
    except ValueError:
        view.fail("address_prefix", f"{prefix!r} is not an IP address", expected="such as 10.0.0.0")
    length = min(view.wrapped("prefix_len") or 0, address.max_prefixlen)
    network = ip_network((address, length), strict=False)
    return InNetwork(of, address.version, int(network.network_address), length)


def _port_range(view: View) -> ToPort:
    """An `Int32Range`, with the limits that Envoy sets."""
    start, end = int(view.scalar("start")), int(view.scalar("end"))
    for name, value in (("start", start), ("end", end)):
        if not 0 <= value <= _MOST_PORT:
            view.fail(name, f"{value} is out of bounds", expected=f"0 to {_MOST_PORT}")
    if start >= end:
        view.fail("end", f"{end} is not above the start, {start}", expected="start below end")
    return ToPort(start, end)
