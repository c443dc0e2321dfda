"""`/logging`: show or change the levels of the application log, in all processes at once."""

from __future__ import annotations

from collections.abc import Mapping

from pyproxy.server.admin.endpoint import Endpoint, Parameter, Question, Reply, bad_request
from pyproxy.server.app_log import UnknownLevel, UnknownLogger
from pyproxy.server.log_components import COMPONENTS, LEVELS
from pyproxy.server.proxy import Proxy

_USAGE = f"""
usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
levels: {" ".join(LEVELS)} 
"""  # noqa: W291  Envoy's line ends in a space


class _Unusable(Exception):
    pass


async def change_levels(question: Question) -> Reply:
    """Without parameters it only shows them."""
    try:
        levels = _wanted(question.query)
        if levels:
            await question.proxy.set_log_levels(levels)
    except UnknownLogger:
        return _refuse("unknown logger name", question.proxy)
    except UnknownLevel:
        return _refuse("unknown logger level", question.proxy)
    except _Unusable as error:
        return _refuse(str(error), question.proxy)
    return Reply(_active(question.proxy))


def _wanted(query: Mapping[str, str]) -> dict[str, str]:
    """Component -> level."""
    if len(query) > 1:
        raise _Unusable("invalid number of parameters")
    for name, value in query.items():
        if name == "paths":
            return dict(_pair(item) for item in value.split(",") if item)
        if name == "level":
            return dict.fromkeys(COMPONENTS, value) if value else {}
        if name == "group":
            raise _Unusable("group parameter requires fine-grain logging to be enabled")
        return {name: value}
    return {}


def _pair(item: str) -> tuple[str, str]:
    name, _, level = item.partition(":")
    if not name or not level:
        raise _Unusable("empty logger name or empty logger level")
    return name, level


def _refuse(reason: str, proxy: Proxy) -> Reply:
    return bad_request(f"error: {reason}\n{_USAGE}{_active(proxy)}")


def _active(proxy: Proxy) -> str:
    lines = [f"  {component}: {level}" for component, level in proxy.blueprint.app_log.levels().items()]
    return "\n".join(["active loggers:", *lines, "", ""])


ENDPOINTS = (
    Endpoint(
        "/logging",
        "query/change logging levels",
        change_levels,
        (
            Parameter("paths", "Change several: <logger_name1>:<level1>,<logger_name2>:<level2>"),
            Parameter("level", "Change all loggers", ("", *LEVELS)),
        ),
        mutates=True,
    ),
)
