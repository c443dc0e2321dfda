"""Whether the proxy is ready, in Envoy's words (envoy.admin.v3.ServerInfo.State), and the rule that decides it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class ServerState(Enum):
    """The value is Envoy's number, which `server.state` shows."""

    LIVE = 0
    DRAINING = 1
    PRE_INITIALIZING = 2
    INITIALIZING = 3


def overall(workers: Iterable[ServerState | None], *, draining: bool, health_failed: bool) -> ServerState:
    """The state of the proxy from what its workers answered; None for one that did not answer.

    One live worker is enough: while another is being restarted the kernel still gives connections to the rest, and a
    probe that fails for it would take the whole proxy out of service.
    """
    if draining or health_failed:
        return ServerState.DRAINING
    answers = list(workers)
    if ServerState.LIVE in answers:
        return ServerState.LIVE
    if any(answer is not None for answer in answers):
        return ServerState.INITIALIZING
    return ServerState.PRE_INITIALIZING
