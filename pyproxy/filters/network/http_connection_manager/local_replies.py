"""Local replies, shaped as the configuration says (envoy...LocalReplyConfig)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyproxy.config.format import Format, JsonFormat
from pyproxy.errors import ProxyError
from pyproxy.filters.network.http_connection_manager.config import LocalReplyConfig, LocalReplyMapper
from pyproxy.http import local_reply
from pyproxy.http.message import Request, Response
from pyproxy.routes.header_changes import build_header_adds
from pyproxy.runtime import Runtime
from pyproxy.telemetry.formatter import build_formatter, build_json_formatter
from pyproxy.telemetry.log_filters import build_log_filter

TextOf = Callable[[Request, Response | None], str]


class LocalReplies:
    """Makes the response for an error. Without a configuration this is `http.local_reply`."""

    def __init__(self, config: LocalReplyConfig, runtime: Runtime) -> None:
        self._mappers = [_Mapper(mapper, runtime) for mapper in config.mappers]
        self._format = _build(config.format)
        self._content_type = config.content_type or _content_type(config.format)

    def __call__(self, request: Request, error: ProxyError) -> Response:
        info = request.info
        response = local_reply.local_reply(error)
        info.status = response.status
        info.local_reply_body = error.body
        if not self._mappers and self._format is None:
            return response
        text_of, content_type, body = self._format, self._content_type, error.body
        for mapper in self._mappers:
            if mapper.fits(request, response):
                response.status = info.status = mapper.config.status or response.status
                body = info.local_reply_body = mapper.config.body if mapper.config.body is not None else body
                if mapper.format is not None:
                    text_of, content_type = mapper.format, mapper.content_type
                if mapper.add_headers is not None:
                    mapper.add_headers(request, response)
                break
        if text_of is not None:
            body = text_of(request, response).encode()
        shaped = local_reply.text_reply(
            response.status,
            body,
            tuple(p for p in response.headers.pairs if p[0] not in (b"content-length", b"content-type")),
            content_type or local_reply.TEXT,
        )
        return shaped


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
