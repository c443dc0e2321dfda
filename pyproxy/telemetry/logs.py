"""Live access logs: a finished request becomes a line, lines become one write a second.

Logs to the same path share one buffer. It is written when it holds 64 KiB, and at the latest after the flush
interval: Envoy waits 10 s, here it is 1 s unless `--file-flush-interval-msec` says otherwise, because somebody who
looks at a log wants to see the request. A sink that is full or broken never holds up a request: what does not
fit into the bounded queue is dropped and counted (`filesystem.write_dropped`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pyproxy import clock
from pyproxy.config.access_log import AccessLogConfig, SinkKind
from pyproxy.config.format import JsonFormat
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.collector_logs import Write, build_entry
from pyproxy.telemetry.exports import ExportPipe, Exports
from pyproxy.telemetry.formatter import build_formatter, build_json_formatter
from pyproxy.telemetry.formatter_source import Formatter
from pyproxy.telemetry.log_filters import LogPredicate, build_log_filter
from pyproxy.telemetry.log_sink import LogSink
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.server_stats import FilesystemStats

log = logging.getLogger("pyproxy.telemetry.logs")

FLUSH_SECONDS = 1.0
FLUSH_BYTES = 64 * 1024
QUEUE_BYTES = 1024 * 1024
_FIRST_RETRY_SECONDS = 0.01
_LAST_RETRY_SECONDS = 1.0
_LAST_TRIES = 50
_COMPLAINT_SECONDS = 60.0
_STANDARD = {SinkKind.STDOUT: "/dev/stdout", SinkKind.STDERR: "/dev/stderr"}


class LogFile:
    """The buffer and the queue of one path. `append` is all that a request does."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop, stats: FilesystemStats, interval: float) -> None:
        self.path = path
        self.owners = 0
        self._loop = loop
        self._stats = stats
        self._interval = interval
        self._sink = LogSink.open(path)
        self._lines: list[str] = []
        self._size = 0
        self._queue = b""
        self._timer: asyncio.TimerHandle | None = None
        self._retry = _FIRST_RETRY_SECONDS
        self._next_complaint = 0.0

    @property
    def waiting(self) -> bool:
        """The sink has not taken everything."""
        return bool(self._queue)

    def append(self, line: str) -> None:
        lines = self._lines
        if not lines and self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._on_timer)
        lines.append(line)
        self._size += len(line)
        if self._size >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what there is, as far as the sink takes it."""
        self._enqueue()
        if not self._queue:
            return
        try:
            done = self._sink.write(self._queue)
        except OSError as error:
            self._lose(error)
            return
        self._stats.write_completed.value += 1
        self._queue = self._queue[done:]
        self._stats.write_total_buffered.value -= done
        self._retry = _FIRST_RETRY_SECONDS if done else min(2 * self._retry, _LAST_RETRY_SECONDS)
        if self._queue:
            self._wake_in(self._retry)

    def reopen(self) -> None:
        """The file was moved away (SIGUSR1): what was logged until now still goes there."""
        self.flush()
        try:
            sink = LogSink.open(self.path)
        except OSError as error:
            self._stats.reopen_failed.value += 1
            self._complain("cannot reopen access log %s: %s", self.path, error)
            return
        self._sink.close()
        self._sink = sink

    def close(self) -> None:
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
        if self._queue:
            self._drop(self._queue)
            self._queue = b""
        self._sink.close()

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._stats.flushed_by_timer.value += 1
        self.flush()

    def _enqueue(self) -> None:
        lines = self._lines
        if not lines:
            return
        data = "".join(lines).encode("utf-8", "surrogateescape")
        count = len(lines)
        lines.clear()
        self._size = 0
        if self._queue and len(self._queue) + len(data) > QUEUE_BYTES:
            self._stats.write_dropped.value += count
            self._complain("access log %s is not taken fast enough: lines are dropped", self.path)
            return
        self._stats.write_buffered.value += count
        self._stats.write_total_buffered.value += len(data)
        self._queue += data

    def _lose(self, error: OSError) -> None:
        """To keep what a broken sink does not take would only fill the memory."""
        self._stats.write_failed.value += 1
        self._drop(self._queue)
        self._queue = b""
        self._complain("cannot write access log %s: %s", self.path, error)

    def _drop(self, data: bytes) -> None:
        self._stats.write_dropped.value += data.count(b"\n")
        self._stats.write_total_buffered.value -= len(data)

    def _complain(self, message: str, *arguments: object) -> None:
        now = clock.monotonic()
        if now >= self._next_complaint:
            self._next_complaint = now + _COMPLAINT_SECONDS
            log.error(message, *arguments)


def _logging(file: LogFile, line: Formatter, wanted: LogPredicate | None) -> Callable[[Request, Response | None], None]:
    append = file.append

    def log_all(request: Request, response: Response | None) -> None:
        append(line(request, response))

    def log_some(request: Request, response: Response | None) -> None:
        if wanted(request, response):  # type: ignore[misc]
            append(line(request, response))

    return log_all if wanted is None else log_some


class AccessLog:
    """One configured access log."""

    __slots__ = ("_file", "_logs", "log")

    def __init__(self, logs: AccessLogs, file: LogFile, line: Formatter, wanted: LogPredicate | None) -> None:
        self._logs = logs
        self._file = file
        self.log = _logging(file, line, wanted)
        """A request is over: `info.end` and all that the format names is known."""

    def close(self) -> None:
        """The listener that had this log is gone."""
        self._logs.release(self._file)


class CollectorLog:
    """One configured access log whose entries go to a collector."""

    __slots__ = ("log",)

    def __init__(self, pipe: ExportPipe, write: Write, wanted: LogPredicate | None) -> None:
        def log_all(request: Request, response: Response | None) -> None:
            pipe.append(write(request, response))

        def log_some(request: Request, response: Response | None) -> None:
            if wanted(request, response):  # type: ignore[misc]
                pipe.append(write(request, response))

        self.log = log_all if wanted is None else log_some

    def close(self) -> None:
        """Other logs may share the pipe."""


class AccessLogs:
    """All the access logs of a worker."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stats: StatsStore | None = None,
        flush_seconds: float = FLUSH_SECONDS,
        exports: Exports | None = None,
    ) -> None:
        self._loop = loop
        self._exports = Exports() if exports is None else exports
        self._stats = FilesystemStats(stats if stats is not None else StatsStore())
        self._interval = flush_seconds
        self._files: dict[str, LogFile] = {}

    def open(self, config: AccessLogConfig, values: RuntimeValues) -> AccessLog | CollectorLog:
        """The live log of a value. OSError where its file cannot be opened."""
        wanted = build_log_filter(config.filter, values) if config.filter is not None else None
        if config.target is not None and config.entry is not None:
            return CollectorLog(self._exports.pipe(config.target), build_entry(config.target, config.entry), wanted)
        file = self._open(_STANDARD.get(config.sink, config.path))
        if isinstance(config.format, JsonFormat):
            return AccessLog(self, file, build_json_formatter(config.format), wanted)
        return AccessLog(self, file, build_formatter(config.format), wanted)

    def file(self, path: str) -> LogFile | None:
        """A file for lines that somebody else makes; None, and a complaint, where it cannot be opened."""
        try:
            return self._open(path)
        except OSError as error:
            log.error("cannot open event log %s: %s", path, error.strerror or error)
            return None

    def _open(self, path: str) -> LogFile:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = LogFile(path, self._loop, self._stats, self._interval)
        file.owners += 1
        return file

    def release(self, file: LogFile) -> None:
        """One log less to this file; the last one closes it."""
        file.owners -= 1
        if file.owners == 0 and self._files.pop(file.path, None) is not None:
            file.close()

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def reopen(self) -> None:
        """Open all files by their paths again."""
        for file in self._files.values():
            file.reopen()

    async def close(self) -> None:
        """Write what can be written and close everything. A sink that is full gets a moment to make room."""
        for _ in range(_LAST_TRIES):
            self.flush()
            if not any(file.waiting for file in self._files.values()):
                break
            await asyncio.sleep(_FIRST_RETRY_SECONDS)
        for file in self._files.values():
            file.close()
        self._files.clear()
