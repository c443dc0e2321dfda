"""Where log bytes go: a file, a pipe, a terminal or a socket, written to without ever waiting for it.

Several processes write to one sink and their lines must not mix. A regular file opened with O_APPEND takes one
write as a whole, whatever its size. A pipe takes whole only what is no longer than PIPE_BUF (POSIX write()), so it
gets as many whole lines as fit in that, one write after the other, until it is full.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import stat

PIPE_BUF = select.PIPE_BUF
_PIPE_SIZE = 1 << 20
"""What an unprivileged process may ask for (/proc/sys/fs/pipe-max-size)."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2, "/proc/self/fd/1": 1, "/proc/self/fd/2": 2}


class LogSink:
    """One open sink. `write` gives the number of bytes that were taken, 0 when it would have to wait."""

    def __init__(self, file: int, *, patient: bool) -> None:
        """`patient`: the file may block, so ask before writing."""
        self._file = file
        self._patient = patient
        mode = os.fstat(file).st_mode
        self._whole = stat.S_ISREG(mode)
        self._socket = socket.socket(fileno=file) if stat.S_ISSOCK(mode) else None
        if stat.S_ISFIFO(mode):
            with contextlib.suppress(OSError):
                fcntl.fcntl(file, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    @staticmethod
    def open(path: str) -> LogSink:
        """Append to a path. OSError where that is impossible."""
        standard = _STANDARD.get(path)
        if standard is not None:
            return LogSink.of_descriptor(standard)
        try:
            return LogSink(os.open(path, _FLAGS, 0o644), patient=False)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        # A FIFO that nobody reads yet.
        return LogSink(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK), patient=False)

    @staticmethod
    def of_descriptor(number: int) -> LogSink:
        """Standard output or error.

        The process that started us shares their file description, so that one must not be made non-blocking: open
        the same file a second time. Where that is not allowed (sockets, another user's terminal), a copy will do
        that is asked for room before each write. A regular file needs the copy: whoever else writes to it goes on
        from the position that the description keeps.
        """
        if stat.S_ISREG(os.fstat(number).st_mode):
            return LogSink(os.dup(number), patient=False)
        try:
            path = f"/proc/self/fd/{number}"
            return LogSink(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK), patient=False)
        except OSError:
            return LogSink(os.dup(number), patient=True)

    def write(self, data: bytes) -> int:
        """Write as much as goes without waiting. Less than all means: try the rest later."""
        if self._whole:
            return os.write(self._file, data)
        done = 0
        while done < len(data):
            taken = self._write_piece(data[done : done + _piece(data, done)])
            done += taken
            if not taken:
                break
        return done

    def close(self) -> None:
        """What is written after this is an error, and never goes to another file that got the same number."""
        file, self._file = self._file, -1
        if self._socket is not None:
            self._socket.close()
        elif file >= 0:
            os.close(file)

    def _write_piece(self, piece: bytes) -> int:
        try:
            if self._socket is not None:
                return self._socket.send(piece, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            if self._patient and not self._has_room():
                return 0
            return os.write(self._file, piece)
        except BlockingIOError:
            return 0

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        return bool(poll.poll(0))


def _piece(data: bytes, start: int) -> int:
    """The length of the next write: whole lines up to PIPE_BUF, or one longer line."""
    if len(data) - start <= PIPE_BUF:
        return len(data) - start
    end = data.rfind(b"\n", start, start + PIPE_BUF) + 1
    if end > start:
        return end - start
    end = data.find(b"\n", start) + 1
    return (end or len(data)) - start
