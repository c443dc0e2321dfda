"""`/stats?format=html`: statistics as text below a form that asks for others; `active-html` asks again by itself."""

from __future__ import annotations

import html
from collections.abc import Mapping

from pyproxy.server.admin.endpoint import Parameter

_STYLE = "body{font-family:sans-serif;margin:2em}label{margin-right:1em}small{color:#666}"
_REFRESH_SECONDS = 3
_DEFAULTED = ("format", "type")
"""Their first choice is what is meant where nothing is said."""
_FLAGS = ("usedonly", "invert_filter")


def stats_page(text: str, query: Mapping[str, str], parameters: tuple[Parameter, ...], *, active: bool) -> str:
    """`query` is what was asked for, and is filled in again."""
    refresh = f"<meta http-equiv='refresh' content='{_REFRESH_SECONDS}'>" if active else ""
    fields = "\n".join(_field(one, query) for one in parameters)
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n"
        f"<head><meta charset='utf-8'>{refresh}<title>pyproxy stats</title><style>{_STYLE}</style></head>\n"
        f"<body>\n<h1><a href='.'>pyproxy admin</a>: stats</h1>\n<form action='stats' method='get'>\n{fields}\n"
        f"<button>show</button></form>\n<pre>\n{html.escape(text)}</pre>\n</body>\n</html>\n"
    )


def _field(parameter: Parameter, query: Mapping[str, str]) -> str:
    name, asked = html.escape(parameter.name), query.get(parameter.name, "")
    if parameter.name in _FLAGS:
        field = f"<input type='checkbox' name='{name}'{' checked' if parameter.name in query else ''}>"
    elif parameter.choices:
        choices = parameter.choices if parameter.name in _DEFAULTED else ("", *parameter.choices)
        options = "".join(
            f"<option{' selected' if choice == asked else ''}>{html.escape(choice)}</option>" for choice in choices
        )
        field = f"<select name='{name}'>{options}</select>"
    else:
        field = f"<input name='{name}' value='{html.escape(asked)}'>"
    return f"<label title='{html.escape(parameter.help)}'><small>{name}</small> {field}</label>"
