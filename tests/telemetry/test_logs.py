from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from pyproxy.config.access_log import AccessLogConfig, Comparison, SinkKind, StatusFilter
from pyproxy.config.format import Format, JsonFormat, JsonObject, Operator
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.telemetry.logs import QUEUE_BYTES, AccessLog, AccessLogs
from pyproxy.telemetry.metrics import StatsStore
from tests.telemetry.forked import fork, join

PATH = Format((Operator("REQ", ":PATH"), "\n"))
LONG = 3600.0


def config(path: Path, **fields: object) -> AccessLogConfig:
    return AccessLogConfig(SinkKind.FILE, str(path), PATH, **fields)  # type: ignore[arg-type]


def write(log: AccessLog, path: bytes, status: int = 200) -> None:
    info = StreamInfo(0.0, 0.0, ConnectionInfo())
    info.status = status
    log.log(Request(b"GET", path, b"a.test", Headers(), info), Response(status, Headers()))


def make(stats: StatsStore | None = None, flush_seconds: float = LONG) -> AccessLogs:
    return AccessLogs(asyncio.get_running_loop(), stats, flush_seconds=flush_seconds)


async def test_lines_are_written_after_the_interval(tmp_path: Path) -> None:
    logs = make(flush_seconds=0.01)
    log = logs.open(config(tmp_path / "a.log"), RuntimeValues())
    for round_ in (b"/one", b"/two"):
        write(log, round_)
        before = (tmp_path / "a.log").read_text()
        while (tmp_path / "a.log").read_text() == before:
            await asyncio.sleep(0.005)
    await logs.close()
    assert (tmp_path / "a.log").read_text() == "/one\n/two\n"


async def test_logs_to_one_path_share_a_file_and_keep_the_order(tmp_path: Path) -> None:
    logs = make()
    every = logs.open(config(tmp_path / "a.log"), RuntimeValues())
    json_format = JsonFormat(JsonObject((("path", Format((Operator("REQ", ":PATH"),))),)))
    failed = logs.open(
        AccessLogConfig(SinkKind.FILE, str(tmp_path / "a.log"), json_format, StatusFilter(Comparison.GE, 500)),
        RuntimeValues(),
    )
    for path, status in ((b"/1", 200), (b"/2", 503), (b"/3", 200)):
        write(every, path, status)
        write(failed, path, status)
    assert (tmp_path / "a.log").read_text() == ""
    every.close()
    write(failed, b"/4", 500)
    failed.close()
    assert (tmp_path / "a.log").read_text() == '/1\n/2\n{"path":"/2"}\n/3\n{"path":"/4"}\n'
    await logs.close()


async def test_bytes_that_are_not_utf8_are_written_as_they_came(tmp_path: Path) -> None:
    logs = make()
    write(logs.open(config(tmp_path / "a.log"), RuntimeValues()), b"/\xff\xc3\xa9")
    await logs.close()
    assert (tmp_path / "a.log").read_bytes() == b"/\xff\xc3\xa9\n"


async def test_a_full_buffer_is_written_at_once(tmp_path: Path) -> None:
    stats = StatsStore()
    logs = make(stats)
    log = logs.open(config(tmp_path / "a.log"), RuntimeValues())
    for _ in range(70):
        write(log, b"/" + b"x" * 1000)
    assert 64 * 1024 <= (tmp_path / "a.log").stat().st_size < 70 * 1002
    await logs.close()
    assert (tmp_path / "a.log").stat().st_size == 70 * 1002
    assert stats.counter("filesystem.write_buffered").value == 70
    assert stats.counter("filesystem.write_completed").value == 2
    assert stats.gauge("filesystem.write_total_buffered").value == 0


async def test_a_moved_file_is_opened_anew_when_asked(tmp_path: Path) -> None:
    logs = make()
    path = tmp_path / "a.log"
    log = logs.open(config(path), RuntimeValues())
    write(log, b"/before")
    path.rename(tmp_path / "a.log.1")
    logs.flush()
    write(log, b"/at")
    logs.reopen()
    write(log, b"/after")
    await logs.close()
    assert (tmp_path / "a.log.1").read_text() == "/before\n/at\n"
    assert path.read_text() == "/after\n"


async def test_a_file_that_cannot_be_opened_anew_is_written_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stats = StatsStore()
    logs = make(stats)
    path = tmp_path / "dir" / "a.log"
    path.parent.mkdir()
    log = logs.open(config(path), RuntimeValues())
    path.parent.rename(tmp_path / "moved")
    logs.reopen()
    write(log, b"/on")
    await logs.close()
    assert (tmp_path / "moved" / "a.log").read_text() == "/on\n"
    assert stats.counter("filesystem.reopen_failed").value == 1
    assert "cannot reopen access log" in caplog.text


async def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    logs = make()
    with pytest.raises(FileNotFoundError):
        logs.open(config(tmp_path / "none" / "a.log"), RuntimeValues())
    await logs.close()


async def test_a_slow_pipe_costs_lines_and_no_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    stats = StatsStore()
    logs = make(stats)
    log = logs.open(config(path), RuntimeValues())
    count = 5000
    for number in range(count):
        write(log, b"/%06d" % number + b"x" * 1000)
    dropped = stats.counter("filesystem.write_dropped").value
    assert 0 < dropped < count
    assert stats.gauge("filesystem.write_total_buffered").value <= QUEUE_BYTES + 64 * 1024
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    received = bytearray()
    while True:
        try:
            received += os.read(reader, 1 << 20)
        except BlockingIOError:
            await asyncio.sleep(0.02)
            if not stats.gauge("filesystem.write_total_buffered").value:
                break
    logs.flush()
    received += os.read(reader, 1 << 20)
    lines = received.splitlines()
    assert len(lines) == count - dropped
    assert all(len(one) == 1007 for one in lines)
    assert lines == sorted(lines)
    await logs.close()
    os.close(reader)


async def test_a_broken_sink_is_counted_and_complained_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stats = StatsStore()
    logs = make(stats)
    log = logs.open(config(Path("/dev/full")), RuntimeValues())
    for number in range(3):
        write(log, b"/%d" % number)
        logs.flush()
    await logs.close()
    assert stats.counter("filesystem.write_failed").value == 3
    assert stats.counter("filesystem.write_dropped").value == 3
    assert [record.message for record in caplog.records] == [
        "cannot write access log /dev/full: [Errno 28] No space left on device"
    ]


async def test_a_reader_that_goes_away_is_no_reason_to_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    logs = make()
    log = logs.open(config(path), RuntimeValues())
    write(log, b"/1")
    logs.flush()
    os.close(reader)
    write(log, b"/2")
    logs.flush()
    await logs.close()
    assert "Broken pipe" in caplog.text


async def test_a_log_that_outlives_its_file_hurts_nobody(tmp_path: Path) -> None:
    logs = make()
    log = logs.open(config(tmp_path / "a.log"), RuntimeValues())
    await logs.close()
    write(log, b"/late")
    assert (tmp_path / "a.log").read_text() == ""


@pytest.mark.parametrize(("sink", "number"), [(SinkKind.STDOUT, 1), (SinkKind.STDERR, 2)])
def test_standard_output_and_error(tmp_path: Path, sink: SinkKind, number: int) -> None:
    reader, writer = os.pipe()

    def work() -> None:
        os.dup2(writer, number)

        async def main() -> None:
            logs = make()
            write(logs.open(AccessLogConfig(sink, "", PATH), RuntimeValues()), b"/standard")
            await logs.close()

        asyncio.run(main())

    pid = fork(work)
    os.close(writer)
    assert join(pid) == 0
    assert os.read(reader, 1000) == b"/standard\n"
    os.close(reader)
