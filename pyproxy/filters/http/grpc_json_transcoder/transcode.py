"""The live transcoder: a request with JSON becomes a call, and its answer JSON.

Envoy: envoy.filters.http.grpc_json_transcoder.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from pyproxy.errors import ProxyError
from pyproxy.filters.http.grpc_json_transcoder.bodies import (
    REQUEST_TOO_LARGE,
    RESPONSE_TOO_LARGE,
    Beginning,
    Elements,
    Rows,
    bad_request,
    bad_response,
)
from pyproxy.http import grpc
from pyproxy.http.body import Body
from pyproxy.http.grpc_frames import COMPRESSED, MessageReader, frame
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.whole_body import WholeBody
from pyproxy.transcoding.error import TranscodingError, UnknownField
from pyproxy.transcoding.json_stream import ArrayReader
from pyproxy.transcoding.transcoder import Call, Transcoder, transcoder

if TYPE_CHECKING:
    from pyproxy.filters.http.grpc_json_transcoder.config import JsonTranscoderConfig

Next = Callable[[Request], Awaitable[Response]]

_JSON: Final = b"application/json"
_EVENTS: Final = b"text/event-stream"
_DETAILS: Final = b"grpc-status-details-bin"
_HTTP_OF: Final = {
    0: 200, 1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 14: 503, 16: 401
}  # fmt: skip
"""Status of a call -> status of the response; 500 for the others (Envoy: grpcToHttpStatus)."""


class JsonTranscoder:
    """Shared by all requests of a chain. `name` is what routes call it."""

    def __init__(self, config: JsonTranscoderConfig) -> None:
        self.name = ""
        self._config = config
        self._shared: dict[int, tuple[JsonTranscoderConfig, Transcoder]] = {}

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002 (the name that every filter has)
        config = self._config
        route = request.route
        if route is not None and route.filter_configs:
            override = route.filter_configs.get(self.name)
            if override is not None and override.config is not None:
                config = override.config
        if not config.options.services or grpc.is_grpc(request.headers):
            return await next(request)
        shared = self._transcoder(config)
        try:
            call = shared.begin(request.method, request.path)
        except TranscodingError as error:
            if error.code == "NOT_FOUND":
                passes = not config.reject_unknown_method
            else:
                passes = isinstance(error, UnknownField) and not config.reject_unknown_query
            if passes:
                return await next(request)
            status = 404 if error.code == "NOT_FOUND" else 400
            raise bad_request(error.code, error.message, status, early=True) from error
        content_type = (request.headers.get(b"content-type") or b"").decode("latin-1")
        _translate_head(request, call)
        if not config.keep_route:
            request.rerouting.find(request)
        await _translate_body(request, call, content_type, config)
        response = await next(request)
        if grpc.is_grpc(response.headers):
            await _Answer(request, response, call, shared, config).translate()
        return response

    def _transcoder(self, config: JsonTranscoderConfig) -> Transcoder:
        found = self._shared.get(id(config))
        if found is None or found[0] is not config:
            found = self._shared[id(config)] = (config, transcoder(config.descriptors, config.options))
        return found[1]


def _translate_head(request: Request, call: Call) -> None:
    headers = request.headers
    request.info.came_as_call = False
    headers.remove(b"content-length")
    headers.set(b"content-type", grpc.CONTENT_TYPE)
    headers.set(b"x-envoy-original-path", request.path)
    headers.add(b"x-envoy-original-method", request.method)
    headers.set(b"te", b"trailers")
    request.path, request.method = call.method.path, b"POST"


async def _translate_body(request: Request, call: Call, content_type: str, config: JsonTranscoderConfig) -> None:
    """Raises ProxyError where it does not fit."""
    body = request.body

    def message(data: bytes, *, first: bool = True) -> bytes:
        try:
            return call.request(data, content_type, first=first)
        except TranscodingError as error:
            raise bad_request(error.code, error.message, early=body is None) from error

    if body is not None and call.method.client_streaming and not call.takes_raw:
        request.body = Elements(body, _Array(), _each(message), config.most_request).begin()
        return
    data = b""
    try:
        if body is not None:
            data = await WholeBody.of_request(request, config.most_request, REQUEST_TOO_LARGE)
        if not call.method.client_streaming or call.takes_raw:
            request.body = Body.complete(frame(message(data)))
    except ProxyError:
        request.info.body_read = False  # such a request ends its connection (Envoy)
        raise


def _each(message: Callable[..., bytes]) -> Callable[[bytes], bytes]:
    """What the path and the query say is in the first message only."""
    first = True

    def one(data: bytes) -> bytes:
        nonlocal first
        made = message(data, first=first)
        first = False
        return made

    return one


class _Array:
    """An `ArrayReader` whose faults are those of a request."""

    def __init__(self) -> None:
        self._reader = ArrayReader()

    @property
    def waiting(self) -> int:
        return self._reader.waiting

    def read(self, chunk: bytes) -> list[bytes]:
        try:
            return self._reader.read(chunk)
        except TranscodingError as error:
            raise bad_request(error.code, error.message) from error

    def end(self) -> None:
        try:
            self._reader.end()
        except TranscodingError as error:
            raise bad_request(error.code, error.message) from error


class _Answer:
    """One answer on its way back."""

    def __init__(
        self, request: Request, response: Response, call: Call, shared: Transcoder, config: JsonTranscoderConfig
    ) -> None:
        self._request = request
        self._response = response
        self._call = call
        self._shared = shared
        self._config = config

    async def translate(self) -> None:
        """Raises ProxyError where an answer cannot be told in JSON."""
        response, call = self._response, self._call
        body = response.body
        streams = call.method.server_streaming
        if body is None:
            if streams:
                response.headers.set(b"content-type", self._type())
            self._end_with(response.headers, None)
            if streams and response.status == 200 and not (self._config.events or self._config.newlines):
                response.body = Body.complete(b"[]")
                response.headers.set(b"content-length", b"2")
            return
        response.headers.remove(b"content-length")
        if call.gives_raw and streams:
            await self._raw_rows(body)
        elif streams:
            response.headers.set(b"content-type", self._type())
            response.body = self._rows(body)
        else:
            await self._whole(body)

    def _type(self) -> bytes:
        return _EVENTS if self._config.events else _JSON

    async def _whole(self, body: Body) -> None:
        """One message."""
        response, headers = self._response, self._response.headers
        whole = WholeBody(body, self._config.most_response, RESPONSE_TOO_LARGE)
        reader = MessageReader()
        messages = reader.read(await whole)
        headers.set(b"content-type", _JSON)
        data = self._one(messages[0], headers) if messages else b""
        trailers = whole.trailers
        response.body = Body.complete(data, trailers)
        if trailers is not None:
            self._request.info.response_trailers = trailers  # for the log
            self._end_with(Headers(trailers), data)

    def _one(self, found: tuple[int, bytes], headers: Headers) -> bytes:
        flags, message = found
        if flags & COMPRESSED:
            raise bad_response("INTERNAL", "the answer is compressed")
        if not self._call.gives_raw:
            return self._json(message)
        content_type, data = self._raw(message)
        if content_type:
            headers.set(b"content-type", content_type.encode("latin-1", "replace"))
        if data:
            headers.set(b"content-length", b"%d" % len(data))
        return data

    def _json(self, message: bytes) -> bytes:
        try:
            return self._call.response(message)
        except TranscodingError as error:
            raise bad_response(error.code, error.message) from error

    def _raw(self, message: bytes) -> tuple[str, bytes]:
        try:
            return self._call.raw_response(message)
        except TranscodingError as error:
            raise bad_response(error.code, error.message) from error

    def _rows(self, body: Body) -> Body:
        rows = Rows(body, self._json, self._config.most_response)
        if self._config.events:
            rows.write_as(b"data: ", b"data: ", b"\n\n", b"")
        elif self._config.newlines:
            rows.write_as(b"", b"", b"\n", b"")
        if self._config.convert_status:
            rows.on_nothing(lambda trailers: self._status_json(Headers(trailers or [])))
        return rows.begin()

    async def _raw_rows(self, body: Body) -> None:
        beginning = Beginning(body, self._config.most_response)
        await beginning
        content_type = "" if beginning.first is None else self._raw(beginning.first)[0]
        self._response.headers.set(b"content-type", content_type.encode("latin-1", "replace") or _JSON)
        rows = Rows(beginning.rest(), lambda message: self._raw(message)[1], self._config.most_response)
        rows.write_as(b"", b"", b"", b"")
        self._response.body = rows.begin()

    # The end

    def _end_with(self, said: Headers, data: bytes | None) -> None:
        """What the end of a call says goes into the head; `data` is None where the head is the end."""
        response, headers = self._response, self._response.headers
        status = said.get(grpc.STATUS)
        code = int(status) if status is not None and status.isdigit() else None
        told = b"" if data or not self._config.convert_status else self._status_json(said)
        if told and code is not None:
            response.status = _HTTP_OF.get(code, 500)
            if data is None:
                for name in (grpc.STATUS, grpc.MESSAGE, _DETAILS):
                    headers.remove(name)
            headers.set(b"content-type", _JSON)
            headers.set(b"content-length", b"%d" % len(told))
            response.body = Body.complete(told)
            return
        response.status = 503 if code is None else _HTTP_OF.get(code, 500)
        if data is not None:
            if code is not None and status is not None:
                headers.set(grpc.STATUS, status)
            message = said.get(grpc.MESSAGE)
            if message is not None:
                headers.set(grpc.MESSAGE, message)
        if self._request.info.protocol != "HTTP/2":
            headers.remove(b"trailer")
        headers.set(b"content-length", b"%d" % len(data or b""))

    def _status_json(self, said: Headers) -> bytes:
        """The status of a call that failed, as JSON; empty where it has not, or its details cannot be read."""
        status = said.get(grpc.STATUS)
        if status is None or not status.isdigit() or not int(status):
            return b""
        details = said.get(_DETAILS)
        try:
            if details is not None:
                packed = base64.b64decode(details + b"=" * (-len(details) % 4), validate=True)
            else:
                message = unquote_to_bytes(said.get(grpc.MESSAGE) or b"").decode("utf-8", "replace")
                packed = self._shared.pack_status(int(status), message)
            return self._shared.status_json(packed)
        except (TranscodingError, binascii.Error, ValueError):
            return b""
