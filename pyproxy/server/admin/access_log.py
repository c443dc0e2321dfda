"""The admin's access logs: who asked what, in the formats and with the filters of any access log."""

from __future__ import annotations

import asyncio

from aiohttp import web

from pyproxy import clock
from pyproxy.config.access_log import AccessLogConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.server.admin.endpoint import Reply
from pyproxy.telemetry.logs import AccessLogs
from pyproxy.telemetry.metrics import StatsStore

_DETAILS = "admin_filter_response"
"""What Envoy calls an answer of its admin (%RESPONSE_CODE_DETAILS%)."""


class AdminAccessLog:
    """All configured access logs of the admin. OSError where a file cannot be opened."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        configs: tuple[AccessLogConfig, ...],
        stats: StatsStore,
        flush_seconds: float,
        values: RuntimeValues,
    ) -> None:
        self._files = AccessLogs(loop, stats, flush_seconds)
        self._logs = [self._files.open(config, values) for config in configs]

    def reopen(self) -> None:
        self._files.reopen()

    async def close(self) -> None:
        await self._files.close()

    def log(self, asked: web.BaseRequest, reply: Reply, started: float) -> None:
        """`started` is `clock.monotonic` of when the request came."""
        if not self._logs:
            return
        request, response = _request(asked, started), Response(reply.status, Headers())
        response.headers.add(b"content-type", reply.content_type.encode())
        info = request.info
        info.end = info.request_end = info.response_start = clock.monotonic()
        info.status = reply.status
        info.details = _DETAILS
        info.bytes_sent = len(reply.body.encode())
        for log in self._logs:
            log.log(request, response)


def _request(asked: web.BaseRequest, started: float) -> Request:
    connection = ConnectionInfo()
    connection.remote = connection.direct_remote = _address(asked, "peername")
    connection.local = connection.direct_local = _address(asked, "sockname")
    info = StreamInfo(started, clock.wall() - (clock.monotonic() - started), connection)
    info.protocol = f"HTTP/{asked.version.major}.{asked.version.minor}"
    pairs = [(name.lower(), value) for name, value in asked.raw_headers if name.lower() != b"host"]
    return Request(
        asked.method.encode(),
        asked.raw_path.encode("utf-8", "surrogateescape"),
        asked.headers.get("Host", "").encode(),
        Headers(pairs),
        info,
    )


def _address(asked: web.BaseRequest, which: str) -> tuple[str, int]:
    name = asked.transport.get_extra_info(which) if asked.transport is not None else None
    return (name[0], name[1]) if isinstance(name, tuple) else (str(name or ""), 0)
