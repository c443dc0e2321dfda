from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pyproxy.telemetry.log_sink import PIPE_BUF, LogSink
from tests.telemetry.forked import fork, join

WRITERS = 4
LINES = 3000


def line(writer: int, number: int, length: int) -> bytes:
    """Tells where it comes from and how long it has to be."""
    return b"%d %d %d %s\n" % (writer, number, length, b"x" * length)


def check_lines(data: bytes, lengths: Callable[[random.Random], int]) -> None:
    """Every line of every writer is there, whole and in its writer's order."""
    assert data.endswith(b"\n")
    found: dict[int, list[bytes]] = {writer: [] for writer in range(WRITERS)}
    for one in data.splitlines(keepends=True):
        found[int(one.split(b" ", 1)[0])].append(one)
    for writer in range(WRITERS):
        rng = random.Random(writer)
        assert found[writer] == [line(writer, number, lengths(rng)) for number in range(LINES)]


def writer(path: Path, number: int, lengths: Callable[[random.Random], int]) -> Callable[[], None]:
    def write() -> None:
        rng = random.Random(number)
        sink = LogSink.open(str(path))
        batch = b""
        for at in range(LINES):
            batch += line(number, at, lengths(rng))
            if len(batch) > 20_000 or at == LINES - 1:
                while batch:
                    batch = batch[sink.write(batch) :]
        sink.close()

    return write


def any_length(rng: random.Random) -> int:
    return rng.choice((5, 200, 900, 9000))


def pipe_length(rng: random.Random) -> int:
    return rng.randrange(PIPE_BUF - 40)


def test_four_workers_write_whole_lines_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    pids = [fork(writer(path, number, any_length)) for number in range(WRITERS)]
    assert [join(pid) for pid in pids] == [0] * WRITERS
    check_lines(path.read_bytes(), any_length)
    assert path.stat().st_mode & 0o777 == 0o644


def test_four_workers_write_whole_lines_to_one_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    keep_open = os.open(path, os.O_WRONLY)
    received = bytearray()

    def read() -> None:
        while piece := os.read(reader, 65536):
            received.extend(piece)

    thread = threading.Thread(target=read)
    pids = [fork(writer(path, number, pipe_length)) for number in range(WRITERS)]
    thread.start()
    assert [join(pid) for pid in pids] == [0] * WRITERS
    os.close(keep_open)
    thread.join()
    os.close(reader)
    check_lines(bytes(received), pipe_length)


@pytest.mark.parametrize("patient", [False, True])
def test_a_full_pipe_is_not_waited_for(patient: bool) -> None:
    reader, raw = os.pipe()
    sink = LogSink(os.dup(raw), patient=True) if patient else LogSink.of_descriptor(raw)
    data = b"".join(b"%06d\n" % number for number in range(1_000_000))
    done = sink.write(data)
    assert 0 < done < len(data)
    assert sink.write(data[done:]) == 0
    read = os.read(reader, 1 << 20)
    assert sink.write(data[done:]) > 0
    assert data.startswith(read)
    assert read.endswith(b"\n")
    # Whoever gave us its standard output can go on with it as it was.
    assert os.get_blocking(raw)
    sink.close()
    os.close(raw)
    os.close(reader)


def test_a_full_socket_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sink = LogSink.of_descriptor(ours.fileno())
        data = b"line\n" * 1_000_000
        done = sink.write(data)
        assert 0 < done < len(data)
        assert theirs.recv(4096) == data[:4096]
        sink.close()
        ours.send(b"still open")


def test_standard_output_in_a_file_goes_on_where_others_wrote(tmp_path: Path) -> None:
    path = tmp_path / "out"
    raw = os.open(path, os.O_WRONLY | os.O_CREAT)
    sink = LogSink.of_descriptor(raw)
    os.write(raw, b"one\n")
    sink.write(b"two\n")
    os.write(raw, b"three\n")
    sink.close()
    os.close(raw)
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_pipe_that_nobody_reads_yet_can_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    sink = LogSink.open(str(path))
    assert sink.write(b"kept\n") == 5
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reader, 100) == b"kept\n"
    sink.close()
    os.close(reader)


def test_a_closed_sink_never_writes_into_what_was_opened_next(tmp_path: Path) -> None:
    sink = LogSink.open(str(tmp_path / "first"))
    sink.close()
    sink.close()
    with (tmp_path / "second").open("wb"), pytest.raises(OSError, match="Bad file descriptor"):
        sink.write(b"lost\n")
    assert (tmp_path / "second").read_bytes() == b""


def test_a_line_longer_than_a_pipe_takes_at_once_gets_through() -> None:
    reader, raw = os.pipe()
    sink = LogSink.of_descriptor(raw)
    data = b"short\n" + b"y" * 3 * PIPE_BUF + b"\n" + b"end\n"
    assert sink.write(data) == len(data)
    assert os.read(reader, 1 << 20) == data
    sink.close()
    os.close(raw)
    os.close(reader)
