"""The application log: what the proxy says about itself, in Envoy's format, from every process of the proxy.

All modules log through the standard library; this file decides where the lines go, how they look and which levels
pass. A line is one `write`, so that processes share a file or a pipe line by line. A pipe that nobody reads must not
stop traffic: when it is full the line is dropped and counted. Not on the request path.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import stat
from collections.abc import Mapping

from pyproxy.server.log_components import COMPONENTS, LEVELS, MODULES, level_number
from pyproxy.server.log_pattern import DEFAULT_PATTERN, Part, compile_json, compile_pattern

_NAME_OF = {number: name for name, number in LEVELS.items()}
_STDERR = 2


class UnknownLogger(Exception):
    """A component that there is not."""


class UnknownLevel(Exception):
    """A level that there is not."""


class LogSink(logging.Handler):
    """Writes each record as one line to a file descriptor: standard error, or the file of `--log-path`."""

    def __init__(self, path: str, render: Part, escape: bool) -> None:
        super().__init__()
        self.path = path
        self.dropped = 0
        self._escape = escape
        self.render = render
        self._fd = _STDERR
        self._poll: select.poll | None = None
        self.reopen()

    def reopen(self) -> None:
        """Open the file again, under its name: after it was moved away. Keeps the old one where that fails."""
        if self.path:
            fresh = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if self._fd != _STDERR:
                os.close(self._fd)
            self._fd = fresh
        self._poll = _poll_if_it_can_block(self._fd)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        try:
            line = self.render(record)
        except Exception:  # noqa: BLE001  a log call with wrong arguments is shown, and never ends a request
            line = f"[{record.levelname}] {record.msg!r} {record.args!r}: cannot be formatted"
        if self._escape:
            line = line.replace("\n", "\\n")
        self._write(line)

    def close(self) -> None:
        if self._fd != _STDERR:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = _STDERR
        super().close()

    def _write(self, line: str) -> None:
        if self._poll is not None and not self._poll.poll(0):
            self.dropped += 1
            return
        if self.dropped:
            line = f"({self.dropped} lines were dropped before this one)\n{line}"
            self.dropped = 0
        with contextlib.suppress(OSError):
            os.write(self._fd, f"{line}\n".encode("utf-8", "backslashreplace"))


def _poll_if_it_can_block(fd: int) -> select.poll | None:
    """A poller for a pipe, a socket or a terminal; None for a file, which always takes the line."""
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return None
    except OSError:
        return None
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return poller


class AppLog:
    """The levels of all components, and the sink. One per process; a forked child goes on with its copy."""

    def __init__(self, sink: LogSink) -> None:
        self.sink = sink
        self._levels = dict.fromkeys(COMPONENTS, logging.INFO)

    @classmethod
    def start(
        cls,
        *,
        level: str = "info",
        components: Mapping[str, str] | None = None,
        path: str = "",
        pattern: str | Mapping[str, str] = DEFAULT_PATTERN,
        escape: bool = False,
    ) -> AppLog:
        """Take over the root logger. `pattern` may be a mapping for JSON lines.

        Raises OSError where the file cannot be opened, UnknownLevel and UnknownLogger for wrong names.
        """
        made = cls(LogSink(path, _compiled(pattern), escape))
        logging.raiseExceptions = False
        root = logging.getLogger()
        for handler in list(root.handlers):
            root.removeHandler(handler)
        root.addHandler(made.sink)
        root.setLevel(logging.INFO)
        logging.captureWarnings(True)
        made.set_all(level)
        made.set_levels(components or {})
        return made

    def set_pattern(self, pattern: str | Mapping[str, str]) -> None:
        """Lines look like this from now on; a mapping gives JSON lines."""
        self.sink.render = _compiled(pattern)

    def set_all(self, level: str) -> None:
        """Give every component one level. Raises UnknownLevel."""
        self.set_levels(dict.fromkeys(COMPONENTS, level))

    def set_levels(self, levels: Mapping[str, str]) -> None:
        """Change some components. All or nothing; raises UnknownLogger, UnknownLevel."""
        numbers = {component: _checked(component, level) for component, level in levels.items()}
        self._levels.update(numbers)
        for component in numbers:
            for module in MODULES.get(component, ()):
                logging.getLogger(module).setLevel(numbers[component])

    def levels(self) -> dict[str, str]:
        """Component -> level."""
        return {component: _NAME_OF[number] for component, number in self._levels.items()}

    def reopen(self) -> None:
        """SIGUSR1 or `/reopen_logs`: open the file again."""
        try:
            self.sink.reopen()
        except OSError as error:
            logging.getLogger("pyproxy.server").error("the log file cannot be opened again: %s", error)

    def stop(self) -> None:
        """Give the root logger back."""
        logging.getLogger().removeHandler(self.sink)
        logging.captureWarnings(False)
        self.sink.close()


def _compiled(pattern: str | Mapping[str, str]) -> Part:
    return compile_pattern(pattern) if isinstance(pattern, str) else compile_json(pattern)


def _checked(component: str, level: str) -> int:
    if component not in COMPONENTS:
        raise UnknownLogger(component)
    try:
        return level_number(level)
    except KeyError:
        raise UnknownLevel(level) from None
