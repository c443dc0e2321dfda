"""Run a function in a forked child, as the supervisor runs a worker."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def fork(body: Callable[[], None]) -> int:
    """The pid of a child that runs `body` and exits 0, or 1 if it raised."""
    with warnings.catch_warnings():
        # The child only runs `body`: that the parent may have threads does not matter to it.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        body()
        status = 0
    except BaseException:  # noqa: BLE001 - nothing may return into the test
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(status)


def join(pid: int) -> int:
    """Wait for a child; its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def running(*bodies: Callable[[], None]) -> Iterator[list[int]]:
    """Children that are killed at the end if they have not ended by then."""
    pids = [fork(body) for body in bodies]
    try:
        yield pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            join(pid)
