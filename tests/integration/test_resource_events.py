"""What `/events` says of resources that come, wait, are refused and go while the proxy runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_discovery_against_envoy import One
from tests.integration.upstream import Upstream
from tests.integration.worlds import LISTENER, chain, rds_manager, web
from tests.server.running import eventually


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[One]:
    with Upstream() as upstream:
        one = One("pyproxy", tmp_path / "pyproxy", upstream)
        try:
            yield one
        finally:
            one.process.stop()


def events(proxy: One, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in proxy.admin(f"/events?kind={kind}").splitlines()]


def test_from_the_first_to_the_last(proxy: One) -> None:
    eventually(proxy.ready)
    applied = {(one["subject"], *one["fields"].get("names", ())) for one in events(proxy, "config.applied")}
    assert {("cds", "a"), ("eds", "a"), ("rds", "r"), ("lds", "web")} <= applied
    assert [one["fields"]["names"] for one in events(proxy, "cluster.warmed")] == [["a"]]
    assert [one["subject"] for one in events(proxy, "listener.added")] == ["web"]
    proxy.files.put(LISTENER, web(proxy.web, chain(rds_manager(proxy.files, "web", "r", codec_type=77))))
    (refused,) = eventually(lambda: events(proxy, "config.rejected"))
    assert (refused["subject"], refused["severity"]) == ("lds", "ERROR")
    assert "codec_type" in refused["fields"]["reasons"]["web"]
    proxy.files.put(LISTENER)
    removed = eventually(lambda: [one for one in events(proxy, "config.removed") if one["subject"] == "lds"])
    assert [one["fields"]["names"] for one in removed] == [["web"]]
