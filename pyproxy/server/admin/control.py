"""The endpoints that change what the proxy does: stop, drain, health, counters, log files. POST only."""

from __future__ import annotations

from pyproxy.server.admin.endpoint import DONE, Endpoint, Parameter, Question, Reply
from pyproxy.server.proxy import HOT_RESTART_VERSION


async def quit_proxy(question: Question) -> Reply:
    """Stop as SIGTERM does: open requests finish first."""
    await question.proxy.stop()
    return DONE


async def drain_listeners(question: Question) -> Reply:
    """Stop accepting, at once or (`graceful`) after the drain time, in which downstreams are asked to leave."""
    proxy = question.proxy
    inbound_only = question.flag("inboundonly")
    names = [
        listener.name for listener in proxy.listeners() if not inbound_only or listener.traffic_direction == "INBOUND"
    ]
    if question.flag("skip_exit"):
        await proxy.ask_to_leave(names)
    else:
        seconds = float(proxy.blueprint.options.drain_time_s) if question.flag("graceful") else 0.0
        await proxy.drain_listeners(names, seconds)
    return DONE


async def fail_health(question: Question) -> Reply:
    await question.proxy.fail_health_checks(True)
    return DONE


async def pass_health(question: Question) -> Reply:
    await question.proxy.fail_health_checks(False)
    return DONE


async def reset_counters(question: Question) -> Reply:
    question.stats.reset_counters()
    return DONE


async def reopen_logs(question: Question) -> Reply:
    await question.proxy.reopen_logs()
    return DONE


async def show_hot_restart_version(question: Question) -> Reply:
    return Reply(HOT_RESTART_VERSION)


ENDPOINTS = (
    Endpoint(
        "/drain_listeners",
        "drain listeners",
        drain_listeners,
        (
            Parameter("graceful", "ask downstreams to leave for the drain time, then stop the listeners"),
            Parameter("skip_exit", "ask downstreams to leave, but go on accepting; graceful has no effect then"),
            Parameter("inboundonly", "only listeners whose traffic_direction is INBOUND"),
        ),
        mutates=True,
    ),
    Endpoint("/healthcheck/fail", "cause the server to fail health checks", fail_health, mutates=True),
    Endpoint("/healthcheck/ok", "cause the server to pass health checks", pass_health, mutates=True),
    Endpoint("/hot_restart_version", "print the hot restart compatibility version", show_hot_restart_version),
    Endpoint("/quitquitquit", "exit the server", quit_proxy, mutates=True),
    Endpoint("/reopen_logs", "reopen access logs", reopen_logs, mutates=True),
    Endpoint("/reset_counters", "reset all counters to zero", reset_counters, mutates=True),
)
