"""What an admin endpoint is: a path, a line of help, and a function from a question to a reply."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyproxy.server.manager_stats import ManagerStats
from pyproxy.server.proxy import Proxy

TEXT = "text/plain; charset=UTF-8"
PLAIN = "text/plain"
JSON = "application/json"
HTML = "text/html; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the admin. `query` has the parameters of the URL, and of a form where there was one."""

    proxy: Proxy
    stats: ManagerStats
    query: Mapping[str, str] = field(default_factory=dict)
    accept: str = ""
    """The media types that the asker wants."""
    method: str = "GET"
    body: bytes = b""
    """What was posted, unless it was a form."""

    def flag(self, name: str) -> bool:
        """Whether a parameter is there at all, as in `/stats?usedonly`."""
        return name in self.query

    @property
    def wants_json(self) -> bool:
        return self.query.get("format") == "json"


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back."""

    body: str
    content_type: str = TEXT
    status: int = 200
    stream: AsyncIterator[str | bytes] | None = None
    """In place of a body: what goes out piece by piece, as long as somebody listens."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """`choices` are shown where there is a fixed set."""

    name: str
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`mutates` endpoints answer POST only, so that a link or a page cannot trigger them."""

    path: str
    help: str
    handle: Callable[[Question], Awaitable[Reply]]
    parameters: tuple[Parameter, ...] = ()
    mutates: bool = False


DONE = Reply("OK\n")


def as_json(value: Any) -> Reply:
    """As Envoy prints protobuf: one space of indentation, a line end after it."""
    return Reply(json.dumps(value, indent=1, ensure_ascii=False) + "\n", JSON)


def bad_request(text: str, content_type: str = TEXT) -> Reply:
    return Reply(text, content_type, 400)
