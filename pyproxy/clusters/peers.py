"""What workers tell each other of hosts, so that each host is asked once for its health and not by every worker, and a
host that one worker has found to fail is out for all.

Nobody is in charge and nothing is agreed on: a note says what one worker knows, and is believed. One that is lost, or
comes when its receiver does not have the host, costs a check more or an ejection that comes later.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple, Protocol


class Topic(Enum):
    """What a note is about."""

    CHECKED = "checked"
    """[failed, degraded, timed out, excluded, good in a row, bad in a row, seconds until the next check]"""
    TRAFFIC = "traffic"
    """The cluster has carried a request."""
    EJECTED = "ejected"
    """[monotonic time, back-off, jitter, how often]: one clock for all workers (clock_gettime(2))."""
    RETURNED = "returned"
    WANTED = "wanted"
    """A cluster begins to live in a worker, which wants to know all that is known; or, without a name, the worker."""


class Note(NamedTuple):
    """`host` is the key of a host; empty for the cluster."""

    sender: int
    topic: Topic
    cluster: str
    host: str
    values: list[Any]


class Peers(Protocol):
    """The other workers."""

    index: int
    """Our own; the lower one goes first where two do the same."""
    patience: float
    """Seconds until what the others know has come, or is not known."""

    def tell(self, topic: Topic, cluster: str, host: str = "", values: list[Any] | None = None) -> None: ...


class NoPeers:
    """There is one worker only."""

    index = 0
    patience = 0.0

    def tell(self, topic: Topic, cluster: str, host: str = "", values: list[Any] | None = None) -> None:
        pass
