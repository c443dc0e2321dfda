"""Closing a listen socket without a victim.

A connection that the kernel has accepted and we have not is reset when the listen socket closes, and so is one whose
handshake is under way. Its downstream has connected by then, so it sees a failed request and not a refusal. So before
a socket is closed a packet filter makes it deaf to new handshakes; those under way complete and are accepted, and a
moment later the close finds nobody. Who knocks in between is refused at its next try (RFC 6298: after a second).
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

# Not in the socket module: asm-generic/socket.h.
_SO_ATTACH_FILTER = 26

# Classic BPF (linux/filter.h). The packet begins with the TCP header, whose byte 13 has the flags (RFC 9293 3.1).
_LOAD_BYTE = 0x30
_AND = 0x54
_JUMP_IF_EQUAL = 0x15
_RETURN = 0x06
_FLAGS = 13
_SYN_AND_ACK = 0x12
_SYN = 0x02
_DROP = 0
_KEEP = 0xFFFFFFFF

_PROGRAM = (
    (_LOAD_BYTE, 0, 0, _FLAGS),
    (_AND, 0, 0, _SYN_AND_ACK),
    (_JUMP_IF_EQUAL, 0, 1, _SYN),
    (_RETURN, 0, 0, _DROP),
    (_RETURN, 0, 0, _KEEP),
)


def quiesce(sock: socket.socket) -> bool:
    """Let no new handshake begin on a TCP listen socket. False where that cannot be done; then some may be reset."""
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return False
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _PROGRAM)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HL", len(_PROGRAM), ctypes.addressof(buffer))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        return False
    return True
