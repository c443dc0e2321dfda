"""What the connection manager does to a response before it is sent (Envoy: mutateResponseHeaders)."""

from __future__ import annotations

from email.utils import formatdate
from typing import Final

from pyproxy.filters.network.http_connection_manager.config import HttpConnectionManagerConfig, ServerHeader
from pyproxy.http.fast import has_any, take_away
from pyproxy.http.inline_headers import INLINE_RESPONSE, join_repeated
from pyproxy.http.message import Headers, Request, Response

_HOP_BY_HOP: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_SERVER: Final = b"server"
_DATE: Final = b"date"
_FORCE_TRACE: Final = b"x-envoy-force-trace"


class DateHeader:
    """The Date of now, made once a second (RFC 9110 6.6.1)."""

    __slots__ = ("_until", "_value")

    def __init__(self) -> None:
        self._until = 0.0
        self._value = b""

    def at(self, wall: float) -> bytes:
        if wall >= self._until or wall < self._until - 1:
            second = int(wall)
            self._until = second + 1.0
            self._value = formatdate(second, usegmt=True).encode()
        return self._value


class ResponseFinalization:
    """Finishes responses as one connection manager is configured to. Shared by all its responses."""

    __slots__ = (
        "_always_id",
        "_date",
        "_overwrite_server",
        "_pass_server",
        "_plain",
        "_server",
        "_server_pair",
        "_via",
    )

    def __init__(self, config: HttpConnectionManagerConfig) -> None:
        self._date = DateHeader()
        self._server = config.server_name
        self._server_pair = (_SERVER, config.server_name)
        self._overwrite_server = config.server_header is ServerHeader.OVERWRITE
        self._pass_server = config.server_header is ServerHeader.PASS_THROUGH
        self._always_id = config.request_id.always_set_in_response
        self._via = config.forwarding.via
        self._plain = not (self._always_id or self._via)

    def __call__(self, request: Request, response: Response) -> None:
        headers = response.headers
        pairs, index = headers.pairs, headers.index
        if len(index) != len(pairs):
            join_repeated(headers, INLINE_RESPONSE)
        if has_any(index, _HOP_BY_HOP) and not (response.status == 101 and request.upgrade):
            take_away(pairs, index, _HOP_BY_HOP)
        if _DATE not in index:
            date = self._date.at(request.info.start_wall)
            pairs.append((_DATE, date))
            index[_DATE] = date
        theirs = index.get(_SERVER)
        if theirs is None:
            if not self._pass_server:
                pairs.append(self._server_pair)
                index[_SERVER] = self._server
        elif self._overwrite_server:
            if len(index) == len(pairs):
                pairs[pairs.index((_SERVER, theirs))] = self._server_pair
                index[_SERVER] = self._server
            else:
                headers.set(_SERVER, self._server)
        if not self._plain or request.info.internal:
            self._extras(request, headers)

    def _extras(self, request: Request, headers: Headers) -> None:
        if self._always_id or (request.info.internal and _FORCE_TRACE in request.headers.index):
            request_id = request.headers.get(b"x-request-id")
            if request_id is not None:
                headers.set(b"x-request-id", request_id)
        if self._via:
            via = headers.joined(b"via")
            headers.set(b"via", self._via if via is None else via + b", " + self._via)
