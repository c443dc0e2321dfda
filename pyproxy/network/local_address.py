"""The machine's own address, as others see it (Envoy: local info address)."""

from __future__ import annotations

import fcntl
import functools
import socket
import struct

_SIOCGIFADDR = 0x8915  # linux/sockios.h


@functools.cache
def first_address() -> str:
    """The first IPv4 address that is not loopback; 127.0.0.1 where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            address = socket.inet_ntoa(answer[20:24])
            if not address.startswith("127."):
                return address
    return "127.0.0.1"
