"""The table of contents of the admin: all endpoints, and the two that describe the others."""

from __future__ import annotations

import html

from pyproxy.server.admin import (
    certs,
    clusters,
    config_dump,
    control,
    events,
    listeners,
    log_levels,
    memory,
    ready,
    runtime_dump,
    server_info,
    stats,
    tap,
    unsupported,
)
from pyproxy.server.admin.endpoint import HTML, Endpoint, Parameter, Question, Reply

_STYLE = "body{font-family:sans-serif;margin:2em}td{padding:2px 12px 2px 0;vertical-align:top}small{color:#666}"


async def show_help(question: Question) -> Reply:
    """`/help`"""
    return Reply(help_text())


async def show_home(question: Question) -> Reply:
    """`/`: the same for a browser."""
    return Reply(_home_page(), HTML)


ENDPOINTS: dict[str, Endpoint] = {
    endpoint.path: endpoint
    for endpoint in sorted(
        (
            Endpoint("/", "Admin home page", show_home),
            Endpoint("/help", "print out list of admin commands", show_help),
            *certs.ENDPOINTS,
            *clusters.ENDPOINTS,
            *config_dump.ENDPOINTS,
            *control.ENDPOINTS,
            *events.ENDPOINTS,
            *listeners.ENDPOINTS,
            *log_levels.ENDPOINTS,
            *memory.ENDPOINTS,
            *ready.ENDPOINTS,
            *runtime_dump.ENDPOINTS,
            *server_info.ENDPOINTS,
            *stats.ENDPOINTS,
            *tap.ENDPOINTS,
            *unsupported.ENDPOINTS,
        ),
        key=lambda endpoint: endpoint.path,
    )
}


def help_text() -> str:
    """All commands with their parameters."""
    lines = ["admin commands are:"]
    for endpoint in ENDPOINTS.values():
        lines.append(f"  {endpoint.path}{' (POST)' if endpoint.mutates else ''}: {endpoint.help}")
        for parameter in endpoint.parameters:
            choices = f"; One of ({', '.join(parameter.choices)})" if parameter.choices else ""
            lines.append(f"      {parameter.name}: {parameter.help}{choices}")
    return "\n".join(lines) + "\n"


def _home_page() -> str:
    rows = "\n".join(_home_row(endpoint) for endpoint in ENDPOINTS.values() if endpoint.path != "/")
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head><meta charset='utf-8'><title>pyproxy admin</title>"
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>pyproxy admin</h1>\n<table>\n{rows}\n</table>\n</body>\n</html>\n"
    )


def _home_row(endpoint: Endpoint) -> str:
    name = html.escape(endpoint.path[1:])
    method = "post" if endpoint.mutates else "get"
    fields = " ".join(f"<label><small>{html.escape(p.name)}</small> {_field(p)}</label>" for p in endpoint.parameters)
    return (
        f"<tr><td><form action='{name}' method='{method}'><button>{name}</button> {fields}</form></td>"
        f"<td>{html.escape(endpoint.help)}</td></tr>"
    )


def _field(parameter: Parameter) -> str:
    """An empty field sends nothing: a browser leaves out what is disabled."""
    name = html.escape(parameter.name)
    enable = "onfocus='this.name=this.dataset.name'"
    return f"<input data-name='{name}' title='{html.escape(parameter.help)}' size='8' {enable}>"
