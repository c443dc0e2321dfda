"""Bodies of requests that somebody watches, as far as people may see them.

Only text is shown, with the values of fields left out whose names speak of secrets; of other bodies only the size.
"""

from __future__ import annotations

import re
from typing import Any, Final

from pyproxy.http.body import Body
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.watched import Watched

MOST_SHOWN: Final = 64 * 1024
"""Bytes of one body."""
REDACTED: Final = "[redacted]"
STATE: Final = "pyproxy.live_bodies"
_TEXT: Final = re.compile(
    rb"(?i)(text/|application/([\w.+-]*(json|xml|yaml)|x-www-form-urlencoded|javascript|graphql|x-ndjson))"
)
_SECRETS: Final = r"token|secret|password|passwd|signature|credential|api[_-]?key|authorization|cookie"
_NAME: Final = rf"[\w.-]*(?:{_SECRETS})[\w.-]*"
_VALUE: Final = r'"(?:[^"\\]|\\.)*"?|\[[^\]]*\]?|\{[^}]*\}?|[^\s,}\]]+'
_QUOTED: Final = re.compile(rf'(?i)("{_NAME}"\s*:\s*)(?:{_VALUE})')
_FORM: Final = re.compile(rf"(?i)((?:^|[&?\s])(?:{_NAME}|code)\s*[=:]\s*)[^&\s]+")
_ELEMENT: Final = re.compile(rf"(?i)(<({_NAME})\b[^>]*>)[^<]+")


class LiveBodies:
    """Both bodies of one exchange, up to `most` bytes each."""

    def __init__(self, request: Request, most: int) -> None:
        self._most = most
        self._asked: _Recorded | None = None
        self._answered: _Recorded | None = None
        if request.body is not None:
            self._asked = _Recorded(request.body, most)
            request.body = self._asked.begin()
        info = request.info
        if info.filter_state is None:
            info.filter_state = {}
        info.filter_state[STATE] = self

    def watch_response(self, response: Response) -> None:
        """It goes downstream now."""
        if response.body is not None:
            self._answered = _Recorded(response.body, self._most)
            response.body = self._answered.begin()

    def shown(self, request: Request, response: Response | None) -> dict[str, Any]:
        """As `request_body` and `response_body`; without one that there was not."""
        found = {}
        if self._asked is not None:
            found["request_body"] = self._asked.shown(request.headers)
        if self._answered is not None and response is not None:
            found["response_body"] = self._answered.shown(response.headers)
        return found


class _Recorded(Watched):
    """A body on its way, and its beginning."""

    def __init__(self, source: Body, most: int) -> None:
        super().__init__(source)
        self.most = most
        self.data = bytearray()
        self.size = 0

    def on_data(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if len(self.data) < self.most:
            self.data += chunk[: self.most - len(self.data)]
        self.body.feed(chunk)

    def shown(self, headers: Headers) -> dict[str, Any]:
        told: dict[str, Any] = {"size": self.size, "truncated": self.size > len(self.data)}
        if _is_text(headers):
            told["text"] = redacted_text(self.data.decode("utf-8", "replace"))
        return told


def redacted_text(text: str) -> str:
    """Values of JSON members, form fields and XML elements whose names speak of secrets are left out."""
    text = _QUOTED.sub(rf'\1"{REDACTED}"', text)
    text = _FORM.sub(rf"\1{REDACTED}", text)
    return _ELEMENT.sub(rf"\1{REDACTED}", text)


def _is_text(headers: Headers) -> bool:
    """What is compressed, or does not say what it is, is not."""
    coding = headers.index.get(b"content-encoding", b"identity")
    return coding == b"identity" and _TEXT.match(headers.index.get(b"content-type", b"")) is not None
