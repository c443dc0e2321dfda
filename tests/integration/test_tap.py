"""`pyproxy tap` beside a running proxy."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Start
from tests.integration.downstream import Downstream
from tests.integration.upstream import Upstream
from tests.server.running import PATIENCE, Running, eventually
from tests.support.ports import LOOPBACK
from tests.support.process import ROOT


def tap(proxy: Running, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pyproxy", "tap", "--admin", proxy.admin_address(), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def ask(proxy: Running, path: str) -> None:
    with Downstream(proxy.port("web")) as connection:
        connection.request("GET", path)


def until_it_ends(watching: subprocess.Popen[str], proxy: Running, path: str) -> tuple[str, str]:
    """Ask until the tap has seen as much as it wants."""

    def ended() -> bool:
        ask(proxy, path)
        return watching.poll() is not None

    eventually(ended)
    return watching.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_are_shown_as_they_end(start: Start, upstream: Upstream, tmp_path: Path, workers: int) -> None:
    proxy = start(upstream.port, workers=workers)
    archive = tmp_path / "seen.har"
    watching = tap(proxy, "--path", "/digest", "--count", "2", "--headers", "--har", str(archive))
    out, fault = until_it_ends(watching, proxy, "/digest?token=abc")
    assert fault == ""
    lines = [line for line in out.splitlines() if not line.startswith("    ")]
    assert len(lines) == 2
    assert "200" in lines[0]
    assert "GET" in lines[0]
    assert "/digest?token=[redacted] -> up/127.0.0.1:" in lines[0]
    assert "    > x-request-id: " in out
    entries = json.loads(archive.read_text())["log"]["entries"]
    assert [one["response"]["status"] for one in entries] == [200, 200]


def test_json(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    out, _ = until_it_ends(tap(proxy, "--json", "--count", "1"), proxy, "/digest")
    assert json.loads(out)["cluster"] == "up"


def test_bodies_are_shown_to_who_asks(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    proxy = start(upstream.port)
    archive = tmp_path / "bodies.har"
    watching = tap(proxy, "--path", "/echo", "--bodies", "60", "--count", "1", "--har", str(archive))
    text = b'{"name": "a", "password": "do-not-tell"}'

    def ended() -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, proxy.port("web"), timeout=PATIENCE)
        connection.request("POST", "/echo", body=text, headers={"content-type": "application/json"})
        assert connection.getresponse().read() == text
        connection.close()
        return watching.poll() is not None

    eventually(ended)
    out, fault = watching.communicate(timeout=PATIENCE)
    assert fault == ""
    assert '    >> {"name": "a", "password": "[redacted]"}' in out
    assert "do-not-tell" not in out + archive.read_text()
    (entry,) = json.loads(archive.read_text())["log"]["entries"]
    assert "[redacted]" in entry["request"]["postData"]["text"]


def test_wrong_usage_is_told(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    for words, code, said in (
        (["--status", "9xx"], 2, "expected a number like 404"),
        (["--statsu", "5xx"], 2, "did you mean '--status'"),
        (["more"], 2, "is not expected here"),
        (["--admin", "127.0.0.1:1"], 1, "cannot be asked"),
        (["--admin", "x"], 1, "expected HOST:PORT"),
    ):
        watching = tap(proxy, *words)
        _, fault = watching.communicate(timeout=PATIENCE)
        assert (watching.returncode, said in fault) == (code, True), fault
    assert proxy.admin("/tap?status=x")[0] == 400
    assert proxy.admin("/tap")[1].startswith("usage: ")
