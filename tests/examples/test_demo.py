"""The demo shows what it says, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.access_logs import AccessLogs, Tail, percentile
from examples.demo.collector import KeptSpan
from examples.demo.follow import followed
from examples.demo.layout import AFTER, BEFORE, Layout, Reserved, needed_ports
from examples.demo.story import close, split
from pyproxy.control_plane.mesh_file import read_mesh
from tests.server.running import eventually
from tests.support.process import ROOT

LONGEST = 600
"""Seconds, for a machine that does much else."""


def line(proxy: str, **fields: object) -> str:
    told = {"proxy": proxy, "listener": "inbound:a", "status": 200, "cluster": "a|v1", "trace_id": "t", "time": "0"}
    return json.dumps({**told, **fields})


def span(name: str, parent: str, start: int) -> KeptSpan:
    return KeptSpan("s", name, "server", name, parent, start, start + 1, {}, ())


def test_the_mesh_is_valid(tmp_path: Path) -> None:
    names = [*needed_ports(), "traces", "shop_1", "catalog_v1_a", "catalog_v1_b", "catalog_v2", "stock_1"]
    layout = Layout(tmp_path, {name: 1000 + at for at, name in enumerate(names)})
    layout.write()
    mesh = read_mesh(layout.file.read_text(), "mesh.yaml")
    assert mesh.services["catalog"].weights == BEFORE
    assert [one.node for one in mesh.services["catalog"].instances] == ["catalog-v1-a", "catalog-v1-b", "catalog-v2"]


def test_ports_are_not_given_twice() -> None:
    first, second = Reserved(20), Reserved(20)
    assert len({*first.ports, *second.ports}) == 40
    first.close()
    second.close()


def test_only_whole_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "log"
    tail = Tail(file)
    assert tail.lines() == []
    file.write_text("one\ntw")
    assert tail.lines() == ["one"]
    file.write_text("one\ntwo\nthree\n")
    assert tail.lines() == ["two", "three"]


def test_a_split_is_what_was_chosen(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("\n".join([*[line("a")] * 9, line("a", cluster="a|v2"), "no request", ""]))
    logs = AccessLogs([file])
    logs.read()
    shares = split(logs.last(lambda one: one.proxy == "a"))
    assert shares == {"v1": 0.9, "v2": 0.1}
    assert close(shares, BEFORE)
    assert not close(shares, AFTER)
    assert not close({}, BEFORE)
    assert [percentile(values, 0.5) for values in ([], [3, 1, 2])] == [0.0, 2]


def test_spans_stand_below_their_parents() -> None:
    spans = [span("b", "a", 2), span("c", "b", 3), span("d", "a", 1), span("a", "", 0)]
    found = followed("t", [], spans, [], [])
    assert [one.span for one in found.spans] == ["a", "d", "b", "c"]
    assert not found.complete


@pytest.mark.slow
@pytest.mark.timeout(LONGEST)
@pytest.mark.xdist_group("mesh")
def test_everything_happens(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--for", "5s"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ejected host: catalog-v1-b" in done.stdout
    assert "rotated certificates: 6 of 6 proxies" in done.stdout
    assert "errors: 0" in done.stdout
    assert_nothing_is_left(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(LONGEST)
@pytest.mark.xdist_group("mesh")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told(tmp_path: Path, number: signal.Signals) -> None:
    """In the middle of its start, when some of the proxies are there."""
    with (tmp_path / "output").open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "examples.demo"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=output,
            stderr=output,
        )
    eventually(lambda: list(tmp_path.glob("pyproxy-demo-*/catalog-v1-a.admin")))
    demo.send_signal(number)
    assert demo.wait(LONGEST) == 0
    assert_nothing_is_left(tmp_path)


def assert_nothing_is_left(directory: Path) -> None:
    assert not list(directory.glob("pyproxy-*"))
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(directory) not in running
