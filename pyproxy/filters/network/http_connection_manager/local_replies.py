"""Local replies, shaped as the configuration says (envoy...LocalReplyConfig)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyproxy.config.format import Format, JsonFormat
from pyproxy.errors import ProxyError
from pyproxy.filters.network.http_connection_manager.config import LocalReplyConfig, LocalReplyMapper
from pyproxy.http import grpc, local_reply
from pyproxy.http.message import Headers, Request, Response
from pyproxy.routes.header_changes import build_header_adds
from pyproxy.runtime import Runtime
from pyproxy.telemetry.formatter import build_formatter, build_json_formatter
from pyproxy.telemetry.log_filters import build_log_filter

_GRPC_CODES = {
    "max_duration_timeout": grpc.DEADLINE_EXCEEDED,
    "grpc_bridge_content_length_missing": grpc.INTERNAL,
}
"""Where it is not the HTTP status that says what became of a call."""

TextOf = Callable[[Request, Response | None], str]


class LocalReplies:
    """Makes the response for an error. Without a configuration this is `http.local_reply`."""

    def __init__(self, config: LocalReplyConfig, runtime: Runtime) -> None:
        self._mappers = [_Mapper(mapper, runtime) for mapper in config.mappers]
        self._format = _build(config.format)
        self._content_type = config.content_type or _content_type(config.format)

    def __call__(self, request: Request, error: ProxyError) -> Response:
        """The reply for an error. What the route adds to responses, it adds to this one too."""
        headers = Headers(list(error.headers))
        response = Response(error.status, headers)
        route = request.route
        if route is not None:
            # The target is drawn once per request, so this is the one that was tried.
            mutate = route.resolve(request).mutate_response if route.answer is None else route.mutate_response
            if mutate is not None:
                request.info.status = error.status
                mutate(request, response)
        return self._shaped(request, response, error.body, local_reply.TEXT, _GRPC_CODES.get(error.details))

    def shape(self, request: Request, response: Response) -> Response:
        """A response that a route gave by itself."""
        if not self._mappers and self._format is None and not _is_call(request):
            return response
        body = grpc.body_of(response)
        content_type = response.headers.get(b"content-type") or local_reply.TEXT
        for name in (b"content-length", b"content-type"):
            response.headers.remove(name)
        return self._shaped(request, response, body, content_type)

    def _shaped(
        self, request: Request, response: Response, body: bytes, content_type: bytes, code: int | None = None
    ) -> Response:
        info = request.info
        info.status = response.status
        text_of, typed = self._format, self._content_type
        info.local_reply_body = body  # for the formats; the access log shows none (Envoy)
        for mapper in self._mappers:
            if mapper.fits(request, response):
                response.status = info.status = mapper.config.status or response.status
                if mapper.config.body is not None:
                    body = info.local_reply_body = mapper.config.body
                if mapper.format is not None:
                    text_of, typed = mapper.format, mapper.content_type
                if mapper.add_headers is not None:
                    mapper.add_headers(request, response)
                break
        if text_of is not None:
            body = text_of(request, response).encode(errors="surrogateescape")
            content_type = typed or local_reply.TEXT
        info.local_reply_body = b""
        if _is_call(request):
            return grpc.answer(response, body, code)
        return local_reply.with_body(response, body, content_type)


def _is_call(request: Request) -> bool:
    """Whether it came as a gRPC call."""
    noted = request.info.came_as_call
    return grpc.is_grpc(request.headers) if noted is None else noted


class _Mapper:
    def __init__(self, config: LocalReplyMapper, runtime: Runtime) -> None:
        self.config = config
        self.fits: Callable[[Request, Response | None], bool] = build_log_filter(config.filter, runtime.values)
        self.format = _build(config.format)
        self.content_type = config.content_type or _content_type(config.format)
        self.add_headers: Any = build_header_adds(config.headers) if config.headers else None


def _build(form: Format | JsonFormat | None) -> TextOf | None:
    if form is None:
        return None
    if isinstance(form, JsonFormat):
        return build_json_formatter(form)
    return build_formatter(form)


def _content_type(form: Format | JsonFormat | None) -> bytes:
    return b"application/json" if isinstance(form, JsonFormat) else b""
