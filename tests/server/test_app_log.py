from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyproxy.server.app_log import AppLog, UnknownLevel, UnknownLogger
from pyproxy.server.log_components import COMPONENTS, MODULES

ADMIN = logging.getLogger("pyproxy.server.admin.server")
UPSTREAM = logging.getLogger("pyproxy.clusters.cluster")


@pytest.fixture(autouse=True)
def root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    logging.captureWarnings(False)
    for modules in MODULES.values():
        for module in modules:
            logging.getLogger(module).setLevel(logging.NOTSET)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def test_a_component_has_its_own_level(file: Path) -> None:
    log = AppLog.start(path=str(file), pattern="[%l][%n] %v", components={"upstream": "debug"})
    UPSTREAM.debug("seen")
    ADMIN.debug("not seen")
    ADMIN.info("seen too")
    log.stop()
    assert file.read_text() == "[debug][upstream] seen\n[info][admin] seen too\n"


def test_levels_change_at_run_time(file: Path) -> None:
    log = AppLog.start(path=str(file), pattern="%v")
    ADMIN.debug("1")
    log.set_levels({"admin": "debug"})
    ADMIN.debug("2")
    log.set_all("off")
    ADMIN.critical("3")
    log.set_all("trace")
    ADMIN.log(5, "4")
    log.stop()
    assert file.read_text() == "2\n4\n"


def test_wrong_names_change_nothing(file: Path) -> None:
    log = AppLog.start(path=str(file))
    with pytest.raises(UnknownLogger):
        log.set_levels({"admin": "debug", "nobody": "debug"})
    with pytest.raises(UnknownLevel):
        log.set_levels({"admin": "debug", "main": "loud"})
    log.stop()
    assert log.levels() == dict.fromkeys(COMPONENTS, "info")


def test_the_file_is_opened_again_after_it_was_moved(file: Path) -> None:
    log = AppLog.start(path=str(file), pattern="%v")
    ADMIN.info("old")
    moved = file.rename(file.with_suffix(".1"))
    ADMIN.info("still old")
    log.reopen()
    ADMIN.info("new")
    log.stop()
    assert moved.read_text() == "old\nstill old\n"
    assert file.read_text() == "new\n"


def test_a_file_that_cannot_be_opened_again_leaves_the_old_one(file: Path) -> None:
    log = AppLog.start(path=str(file), pattern="%v")
    moved = file.rename(file.with_suffix(".1"))
    file.mkdir()
    log.reopen()
    ADMIN.info("goes on")
    log.stop()
    assert moved.read_text().endswith("goes on\n")


def test_line_ends_are_escaped_where_that_is_wanted(file: Path) -> None:
    log = AppLog.start(path=str(file), pattern="%v", escape=True)
    ADMIN.info("one\ntwo")
    log.stop()
    assert file.read_text() == "one\\ntwo\n"


def test_lines_can_become_json(file: Path) -> None:
    log = AppLog.start(path=str(file), pattern="%v")
    ADMIN.info("before")
    log.set_pattern({"level": "%l", "text": "%v"})
    ADMIN.info('say "hi"')
    log.stop()
    assert file.read_text() == 'before\n{"level": "info", "text": "say \\"hi\\""}\n'


def test_a_wrong_log_call_is_shown_and_harmless(file: Path) -> None:
    log = AppLog.start(path=str(file), pattern="%v")
    ADMIN.info("%d of %d", 1)
    log.stop()
    assert "'%d of %d' (1,)" in file.read_text()


def test_a_pipe_that_nobody_reads_costs_lines_and_no_time(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    log = AppLog.start(path=str(path), pattern="%v")
    for number in range(100):
        ADMIN.info("%d %s", number, "x" * 200)
    dropped = log.sink.dropped
    text = os.read(reader, 65536).decode()
    ADMIN.info("after")
    text += os.read(reader, 65536).decode()
    log.stop()
    os.close(reader)
    lines = text.splitlines()
    assert dropped > 0
    assert lines[-1] == "after"
    assert lines[-2] == f"({dropped} lines were dropped before this one)"
    assert len(lines) == 100 - dropped + 2
    assert all(line.endswith("x" * 200) for line in lines[:-2])
