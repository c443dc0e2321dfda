"""Options of sockets by their numbers (envoy.config.core.v3.SocketOption)."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from pyproxy.config.view import View

PREBIND: Final = "STATE_PREBIND"
BOUND: Final = "STATE_BOUND"
LISTENING: Final = "STATE_LISTENING"


@dataclass(frozen=True, slots=True)
class SocketOption:
    """As setsockopt(2) takes it, and when: PREBIND, BOUND or LISTENING."""

    level: int
    name: int
    value: int | bytes
    state: str = PREBIND
    description: str = ""

    def __str__(self) -> str:
        return self.description or f"the socket option (level {self.level}, name {self.name})"


def compile_socket_options(view: View) -> tuple[SocketOption, ...]:
    """The `socket_options` of a message. Those for datagrams are for none of our sockets."""
    found = view.each("socket_options", _socket_option)
    return tuple(one for one in found if one is not None)


def fast_open(queue: int) -> SocketOption:
    """TCP Fast Open with so many connections that may wait (RFC 7413); 0 switches it off."""
    return SocketOption(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, queue, LISTENING, "tcp_fast_open_queue_length")


def _socket_option(view: View) -> SocketOption | None:
    kind = view.child("type")
    datagram = kind is not None and kind.child("datagram") is not None
    stream = kind is not None and kind.child("stream") is not None
    which = view.oneof("value")
    if which is None:
        view.fail("", "has no value", expected="int_value or buf_value")
    option = SocketOption(
        int(view.scalar("level")),
        int(view.scalar("name")),
        view.scalar(which),
        view.enum("state"),
        view.text("description"),
    )
    return None if datagram and not stream else option
