"""Services that take access logs over gRPC, Envoy's and OpenTelemetry's, on a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from pyproxy.config.descriptors import message_class
from tests.support.ports import LOOPBACK

MESSAGE = "envoy.service.accesslog.v3.StreamAccessLogsMessage"
REPLY = "envoy.service.accesslog.v3.StreamAccessLogsResponse"
RECORDS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
METHOD = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
PATIENCE = 10.0


@dataclass(slots=True)
class LogService:
    """Listens on `port` from `start` to `stop`."""

    port: int = 0
    messages: list[Any] = field(default_factory=list)
    requests: list[ExportLogsServiceRequest] = field(default_factory=list)
    streams: int = 0
    _stop_later: asyncio.Future[None] | None = None
    _news: threading.Condition = field(default_factory=threading.Condition)
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None
    _ready: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(cls) -> LogService:
        made = cls()
        made._thread = threading.Thread(target=made._run, daemon=True)
        made._thread.start()
        made._ready.wait(PATIENCE)
        return made

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()
        stop = self._loop.create_future()
        self._stop_later = stop
        self._loop.run_until_complete(self._serve(stop))
        self._loop.close()

    async def _serve(self, stop: asyncio.Future[None]) -> None:
        server = Server([self])
        await server.start(LOOPBACK, 0)
        assert server._server is not None
        self.port = server._server.sockets[0].getsockname()[1]
        self._ready.set()
        await stop
        server.close()
        await server.wait_closed()

    async def _take(self, stream: Stream[Any, Any]) -> None:
        self.streams += 1
        async for message in stream:
            with self._news:
                self.messages.append(message)
                self._news.notify_all()
        await stream.send_message(message_class(REPLY)())

    async def _take_records(self, stream: Stream[ExportLogsServiceRequest, ExportLogsServiceResponse]) -> None:
        request = await stream.recv_message()
        assert request is not None
        with self._news:
            self.requests.append(request)
            self._news.notify_all()
        await stream.send_message(ExportLogsServiceResponse())

    def __mapping__(self) -> dict[str, Handler]:
        unary, requests, replies = Cardinality.UNARY_UNARY, ExportLogsServiceRequest, ExportLogsServiceResponse
        return {
            METHOD: Handler(self._take, Cardinality.STREAM_UNARY, message_class(MESSAGE), message_class(REPLY)),
            RECORDS: Handler(self._take_records, unary, requests, replies),
        }

    def records(self) -> list[LogRecord]:
        """All OpenTelemetry log records so far."""
        return [
            record
            for request in self.requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def entries(self) -> list[Any]:
        """All HTTP and TCP entries so far."""
        return [entry for one in self.messages for entry in (*one.http_logs.log_entry, *one.tcp_logs.log_entry)]

    def wait_for(self, enough: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Until `enough()`, which looks at what came, is true; AssertionError if that takes too long."""
        with self._news:
            done = self._news.wait_for(enough, patience)
            assert done, f"what came is not what was waited for: {self.entries()} {self.records()}"

    def stop(self) -> None:
        if self._loop is not None and self._thread is not None and self._stop_later is not None:
            self._loop.call_soon_threadsafe(self._stop_later.set_result, None)
            self._thread.join(PATIENCE)
