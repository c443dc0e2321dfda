"""Compiles what local replies look like: protobuf -> `LocalReplyConfig`.

Envoy: envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig.
"""

from __future__ import annotations

from pyproxy.config.data_source import read_data_source
from pyproxy.config.format import Format, JsonFormat
from pyproxy.config.format_compile import compile_substitution
from pyproxy.config.header_compile import compile_header_add
from pyproxy.config.log_filter_compile import compile_log_filter
from pyproxy.config.parts import part
from pyproxy.config.view import View
from pyproxy.filters.network.http_connection_manager.config import LocalReplyConfig, LocalReplyMapper

Body = tuple[Format | JsonFormat | None, bytes]
_NO_BODY: Body = (None, b"")


def compile_local_reply(view: View) -> LocalReplyConfig:
    """A `LocalReplyConfig`."""
    format_, content_type = part(view.report, _NO_BODY, lambda: _format(view, "body_format"))
    return LocalReplyConfig(view.each("mappers", _mapper), format_, content_type)


def _mapper(view: View) -> LocalReplyMapper:
    body = view.child("body")
    format_, content_type = part(view.report, _NO_BODY, lambda: _format(view, "body_format_override"))
    return LocalReplyMapper(
        filter=compile_log_filter(view.need("filter")),
        status=view.wrapped("status_code"),
        body=None if body is None else read_data_source(body),
        format=format_,
        content_type=content_type,
        headers=view.each("headers_to_add", compile_header_add),
    )


def _format(view: View, name: str) -> Body:
    chosen = view.child(name)
    if chosen is None:
        return _NO_BODY
    return compile_substitution(chosen), chosen.text("content_type").encode()
