from __future__ import annotations

import os
import signal

import pytest

from pyproxy.server.process import Ending


@pytest.mark.parametrize(
    ("status", "ending", "text"),
    [
        (0, Ending(), "exit code 0"),
        (78 << 8, Ending(code=78), "exit code 78"),
        (9, Ending(signal=9), "killed by SIGKILL"),
        (11 | 0x80, Ending(signal=11), "killed by SIGSEGV"),
        (64, Ending(signal=64), "killed by SIGRTMAX"),
    ],
)
def test_how_a_child_ended(status: int, ending: Ending, text: str) -> None:
    assert Ending.of_status(status) == ending
    assert str(ending) == text


def test_a_real_status() -> None:
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(1)
    assert str(Ending.of_status(os.waitpid(pid, 0)[1])) == "killed by SIGTERM"
