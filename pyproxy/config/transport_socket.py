"""Compiles transport sockets, on either side. Envoy: envoy.config.core.v3.TransportSocket.

Plain text is the only one so far. Any other is a fault: without it, what was meant to be encrypted would not be.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.view import View

RAW_BUFFER: Final = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"


def compile_transport_socket(view: View) -> None:
    """None, which stands for plain text. Raises InvalidConfig for everything else."""
    found = view.child("transport_socket")
    if found is None:
        return
    name = found.text("name")
    if not found.has("typed_config"):
        found.fail("typed_config", f"the transport socket {name!r} has none, and a name alone chooses nothing")
    typed = found.any("typed_config")
    assert typed is not None
    if typed.type_name != RAW_BUFFER:
        reason = f"the transport socket {name!r} of type {typed.type_name} is not supported yet"
        found.fail("typed_config", reason, expected=RAW_BUFFER)
