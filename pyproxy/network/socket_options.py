"""Sets options of sockets at their time."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from pyproxy.config.socket_option import SocketOption

_MOST_INT = 2**31 - 1


def set_options(sock: socket.socket, options: Iterable[SocketOption], state: str) -> None:
    """Those that are for this state. Raises OSError that says which of them could not be set."""
    for option in options:
        if option.state == state:
            value = option.value
            if isinstance(value, int) and abs(value) > _MOST_INT:
                value = value.to_bytes(8, "little", signed=True)
            try:
                sock.setsockopt(option.level, option.name, value)
            except OSError as error:
                raise OSError(error.errno, f"{option} cannot be set: {error.strerror}") from error
