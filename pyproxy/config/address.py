"""Where to listen and where to connect (envoy.config.core.v3.Address)."""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.view import View


@dataclass(frozen=True, slots=True)
class AddressConfig:
    """A TCP address, or a Unix socket when `pipe` is set (its path; a leading `@` means the abstract namespace).

    Where `internal` is set it is a listener of that name in this process; `endpoint_id` tells hosts apart that are.
    """

    host: str = ""
    port: int = 0
    pipe: str = ""
    mode: int = 0
    ipv4_compat: bool = False
    internal: str = ""
    endpoint_id: str = ""

    def __str__(self) -> str:
        if self.pipe:
            return self.pipe
        if self.internal:
            return f"envoy://{self.internal}/{self.endpoint_id}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def compile_address(view: View, *, internal: bool = False) -> AddressConfig:
    """`internal`: it may be a listener of this process. Raises InvalidConfig where it is an address of another kind."""
    kind = view.oneof("address")
    if kind == "pipe":
        pipe = view.need("pipe")
        return AddressConfig(pipe=pipe.text("path"), mode=pipe.scalar("mode"))
    if kind == "socket_address":
        socket = view.need("socket_address")
        if socket.enum("protocol") != "TCP":
            socket.fail("protocol", "UDP is not supported", expected="TCP")
        if socket.oneof("port_specifier") == "named_port":
            socket.fail("named_port", "is not supported", expected="port_value")
        if socket.text("resolver_name"):
            socket.fail("resolver_name", "custom resolvers are not supported")
        return AddressConfig(
            host=socket.text("address"),
            port=socket.scalar("port_value"),
            ipv4_compat=bool(socket.scalar("ipv4_compat")),
        )
    if kind == "envoy_internal_address" and internal:
        inside = view.need("envoy_internal_address")
        return AddressConfig(internal=inside.text("server_listener_name"), endpoint_id=inside.text("endpoint_id"))
    view.fail("", f"an address of kind {kind!r} is not supported here", expected="socket_address or pipe")
