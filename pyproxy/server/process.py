"""Children: how one is made, that it never outlives its parent, and what its end means."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from pyproxy import clock
from pyproxy.server.signals import SignalPipe, held

log = logging.getLogger("pyproxy.server.process")

EXIT_OK = 0
EXIT_CRASHED = 1
EXIT_CANNOT_START = 78
"""A child cannot be built from this configuration: to start it again would not help (sysexits: EX_CONFIG)."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


@dataclass(frozen=True, slots=True)
class Child:
    """A running child. `started` is `clock.monotonic`."""

    name: str
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended: by itself with a code, or by a signal."""

    code: int = 0
    signal: int = 0

    @classmethod
    def of_status(cls, status: int) -> Ending:
        """From what `waitpid` says."""
        return cls(signal=os.WTERMSIG(status)) if os.WIFSIGNALED(status) else cls(code=os.WEXITSTATUS(status))

    def __str__(self) -> str:
        if self.signal:
            names = {number.value: number.name for number in signal.Signals}
            return f"killed by {names.get(self.signal, f'signal {self.signal}')}"
        return f"exit code {self.code}"


def start(name: str, body: Callable[[], int], signals: SignalPipe) -> Child:
    """Fork a child that runs `body` and exits with what it returns."""
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    with held():
        pid = os.fork()
        if pid == 0:
            signals.release_in_child()
            _prepare_child(name, parent)
    if pid == 0:
        _run_and_exit(body)
    return Child(name, pid, clock.monotonic())


def name_process(name: str) -> None:
    """Show `name` in `ps` and `top` (15 bytes at most)."""
    _prctl(_PR_SET_NAME, name.encode()[:15])


def _prepare_child(name: str, parent: int) -> None:
    """Signals of a terminal go to the whole group: the supervisor alone decides what they mean."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)
    clock.reseed()
    name_process(name)
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(EXIT_CRASHED)


def _run_and_exit(body: Callable[[], int]) -> None:
    """Never returns into the parent's code: a child has no business in its stack."""
    code = EXIT_CRASHED
    try:
        code = body()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else EXIT_CRASHED
    except BaseException:
        log.critical("the process failed", exc_info=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _prctl(option: int, argument: int | bytes) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)
