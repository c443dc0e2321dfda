"""The loopback ports of one target; chosen below the ephemeral range, so that no outgoing connection takes them."""

import random
import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a target listens, where its admin is, and where its upstream is."""

    listen: int
    admin: int
    upstream: int

    @classmethod
    def choose(cls, upstream: int) -> "Ports":
        """Two free ports in front of a given upstream."""
        listen, admin = free_ports(2)
        return cls(listen, admin, upstream)


def free_ports(count: int) -> list[int]:
    """`count` different ports on which nobody listens at this moment."""
    found: list[int] = []
    candidates = iter(random.sample(range(12_000, 32_000), 20_000))
    while len(found) < count:
        port = next(candidates)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found
