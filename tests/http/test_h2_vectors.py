"""Vectors of others: http2jp's frames and header compression stories, given to both engines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyproxy.http import h2_rules
from pyproxy.http.h2_session import HEADERS, MALFORMED, SessionOptions
from tests.http.h2_peer import ENGINE_IDS, ENGINES, GET, PREFACE, PURE, Engine, Peer, headers, settings

CORPORA = Path(os.environ.get("PYPROXY_CORPORA", "corpora"))
FRAMES = sorted((CORPORA / "http2-frames").glob("*/*.json"))
STORIES = sorted((CORPORA / "hpack").glob("n*/story_*.json"))
# What is wrong with it is judged above the engines (http.h2_guard), or is not looked at: a frame that is ignored.
NOT_THE_ENGINES = {
    "rst_stream-frame-size.json",
    "priority-frame-size.json",
    "priority-frame-stream.json",
    # Of these h2 sees the size only, and libnghttp2 refuses them as those of a downstream.
    "window_update-frame-size.json",
}

pytestmark = pytest.mark.skipif(not FRAMES, reason="no corpora: set PYPROXY_CORPORA")


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("engine", ENGINES, ids=ENGINE_IDS)
@pytest.mark.parametrize("path", [one for one in FRAMES if one.parent.name == "error"], ids=lambda path: path.stem)
def test_frames_that_are_wrong(engine: Engine, path: Path) -> None:
    if path.name in NOT_THE_ENGINES:
        pytest.skip("not the engines': see http.h2_guard")
    session = engine.new(True, SessionOptions())
    session.receive(PREFACE + settings())
    # A stream for those frames that need one.
    peer = Peer(engine)
    block = peer.encoder.encode(GET)
    session.receive(headers(1, block, ended=False))
    session.receive(bytes.fromhex(load(path)["wire"]))
    out = b""
    while more := session.pull():
        out += more
    assert session.error > 0 or session.closed or session.finished, out


def ids(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


@pytest.mark.parametrize("engine", ENGINES, ids=ENGINE_IDS)
@pytest.mark.parametrize("path", STORIES, ids=ids)
def test_stories(engine: Engine, path: Path) -> None:
    """Each header block on a stream of its own, where it is one of a request."""
    peer = Peer(engine, header_table=4096, headers_kb=1000, header_count=1000)
    peer.send(settings(ack=True))
    for number, case in enumerate(load(path)["cases"]):
        if engine is PURE and peer.session.error > 0:
            pytest.skip("h2 ends the connection for a request with a content-length and without a body")
        wanted = [(name.encode(), value.encode()) for pair in case["headers"] for name, value in pair.items()]
        stream = 2 * number + 1
        events = peer.send(headers(stream, bytes.fromhex(case["wire"])))
        if wanted[0][0] != b":method":
            continue
        if not h2_rules.request_is_sound(wanted, connect=False):  # as HTTP/2 was before it was one
            assert [event[:2] for event in events] == [(MALFORMED, stream)]
            continue
        assert events == [(HEADERS, stream, wanted, True)], number
        peer.session.reset(stream, 8)
        peer.read()
    assert peer.goaways() == []
