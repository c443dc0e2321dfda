"""Listen sockets on their way from one process to another (SCM_RIGHTS): those of listeners that came while we run.

The manager opens them, because only then it can say at once whether a listener is good. The supervisor keeps them, so
that they outlive the manager and any worker, and hands each worker its own.
"""

from __future__ import annotations

import array
import json
import logging
import select
import socket
from collections.abc import Iterator, Sequence

log = logging.getLogger("pyproxy.server.socket_transfer")

MOST = 250
"""Descriptors of one message (the kernel's bound is SCM_MAX_FD, 253)."""
_BYTES = 64 * 1024
_PATIENCE_MS = 1000


def make_transfer_pair() -> tuple[socket.socket, socket.socket]:
    """(sender, receiver). Of a stream, as packets are bounded in number; messages with descriptors never merge."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    sender.setblocking(False)
    receiver.setblocking(False)
    return sender, receiver


def send_sockets(sender: socket.socket, named: Sequence[tuple[str, Sequence[socket.socket]]]) -> bool:
    """Each name with its sockets. False where the other side does not take them."""
    for name, sockets in named:
        for at in range(0, len(sockets), MOST):
            numbers = array.array("i", [one.fileno() for one in sockets[at : at + MOST]])
            message = json.dumps([name, len(numbers)]).encode() + b"\n"
            if not _send(sender, message, numbers):
                return False
    return True


def receive_sockets(receiver: socket.socket) -> Iterator[tuple[str, list[socket.socket]]]:
    """Everything that has come."""
    rights = socket.CMSG_SPACE(MOST * array.array("i").itemsize)
    while True:
        try:
            data, ancillary, _, _ = receiver.recvmsg(_BYTES, rights)
        except BlockingIOError:
            return
        if not data:
            return
        numbers = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
        sockets = [socket.socket(fileno=number) for number in numbers]
        for sock in sockets:
            sock.setblocking(False)
        name, count = json.loads(data)
        if count != len(sockets):
            log.error("%d of %d sockets of %s have arrived: too many files are open", len(sockets), count, name)
        yield name, sockets


def _send(sender: socket.socket, message: bytes, numbers: array.array[int]) -> bool:
    while True:
        try:
            sender.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
        except BlockingIOError:
            if not select.select([], [sender], [], _PATIENCE_MS / 1000)[1]:
                return False
        except OSError:
            return False
        else:
            return True
