"""The Autobahn test suite through whole proxies, by HTTP/1 and by HTTP/2: each case has to end as it does without one.

`make test` installs it where there is a Python 2.7 for it. `AUTOBAHN_CASES=*` runs all cases, which takes minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.websocket_hops import start_hops
from tests.support.ports import LOOPBACK
from tests.support.process import ROOT
from tests.support.tcp_peer import Peer
from tests.support.websocket_echo import serve

WSTEST = Path(os.environ.get("WSTEST_BIN") or ROOT / ".cache" / "autobahn" / "bin" / "wstest")
CASES = os.environ.get("AUTOBAHN_CASES", "1.* 2.* 3.* 4.* 5.* 6.* 7.* 10.*").split()
TOO_LONG = ["6.4.*"]
"""They wait for seconds between their pieces."""
WHAT = ("behavior", "behaviorClose", "remoteCloseCode")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not WSTEST.exists(), reason="no wstest: it needs Python 2.7 (scripts/autobahn)"),
]


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[dict[str, int]]:
    """Name -> port."""
    peer = Peer(serve)
    proxy = start_hops(tmp_path, peer.port)
    yield {"direct": peer.port, "web": proxy.port("web"), "far": proxy.port("far")}
    assert "Traceback" not in proxy.said()
    proxy.stop()
    peer.close()


def test_every_case_ends_as_it_does_without_a_proxy(agents: dict[str, int], tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    spec = {
        "outdir": str(reports),
        "servers": [{"agent": name, "url": f"ws://{LOOPBACK}:{port}/chat"} for name, port in agents.items()],
        "cases": CASES,
        "exclude-cases": [] if CASES == ["*"] else TOO_LONG,
    }
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    done = subprocess.run(
        [str(WSTEST), "-m", "fuzzingclient", "-s", str(file)],
        capture_output=True,
        cwd=tmp_path,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, Any]] = json.loads((reports / "index.json").read_text())
    direct = {case: _what(result) for case, result in found["direct"].items()}
    assert len(direct) > 200
    for name in ("web", "far"):
        through = {case: _what(result) for case, result in found[name].items()}
        assert {case: (was, through[case]) for case, was in direct.items() if through[case] != was} == {}
    failed = [case for case, (behavior, *_) in direct.items() if behavior == "FAILED"]
    assert failed == []


def _what(result: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(result[name] for name in WHAT)
