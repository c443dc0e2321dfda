"""`/ready`, `/init_dump`: whether requests would be served now, and if not what is waited for."""

from __future__ import annotations

from pyproxy.server.admin.endpoint import Endpoint, Parameter, Question, Reply, as_json
from pyproxy.server.server_state import ServerState


async def show_ready(question: Question) -> Reply:
    """200 only when a worker says that it serves: the answer comes from a loop that carries traffic."""
    state = await question.proxy.state()
    return Reply(f"{state.name}\n", status=200 if state is ServerState.LIVE else 503)


async def show_init_dump(question: Question) -> Reply:
    """What is still waited for, and workers that have not begun to serve."""
    discovery = question.proxy.discovery
    resources = [] if discovery is None else discovery.waiting_for()
    targets = [f"target {kind} {name}".removesuffix(" *") for kind, names in resources for name in names]
    answers = await question.proxy.ask_workers({"op": "status"})
    waiting = [
        {"name": f"worker {index}", "target_names": (answer or {}).get("waiting_for") or ["process"]}
        for index, answer in enumerate(answers)
        if answer is None or answer["state"] == ServerState.INITIALIZING.name
    ]
    if targets:
        waiting.insert(0, {"name": "init manager Server", "target_names": targets})
    return as_json({"unready_targets_dumps": waiting} if waiting else {})


ENDPOINTS = (
    Endpoint("/ready", "print server state, return 200 if LIVE, otherwise return 503", show_ready),
    Endpoint(
        "/init_dump",
        "dump what is not initialized yet",
        show_init_dump,
        (Parameter("mask", "accepted for compatibility; everything that is not ready is shown"),),
    ),
)
