"""Where to listen and where to connect (envoy.config.core.v3.Address)."""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.view import View


@dataclass(frozen=True, slots=True)
class AddressConfig:
    """A TCP address, or a Unix socket when `pipe` is set (its path; a leading `@` means the abstract namespace)."""

    host: str = ""
    port: int = 0
    pipe: str = ""
    mode: int = 0
    ipv4_compat: bool = False

    def __str__(self) -> str:
        if self.pipe:
            return self.pipe
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def compile_address(view: View) -> AddressConfig:
    """Raises InvalidConfig where the kind of address is not one that we can use."""
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
    view.fail("", f"an address of kind {kind!r} is not supported here", expected="socket_address or pipe")
