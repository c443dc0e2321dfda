from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.upstream import Upstream
from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.server.running import Running, eventually

LOG = "%REQ(:METHOD)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"
Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A proxy between a listener `web` and these upstreams. Its access log is `access.log`."""
    started: list[Running] = []

    def begin(
        *ports: int,
        workers: int = 1,
        cluster: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        **hcm: Any,
    ) -> Running:
        log = file_log(str(tmp_path / "access.log"), LOG)
        web = listener("web", 0, manager("web", {"route": {"cluster": "up", "timeout": "0s"}}, access_log=[log], **hcm))
        up = static_cluster("up", *(endpoint(port) for port in ports), **(cluster or {}))
        file = tmp_path / "bootstrap.json"
        file.write_text(json.dumps(bootstrap([web], [up])))
        flags = ["--concurrency", str(workers), "--file-flush-interval-msec", "10"]
        proxy = Running(tmp_path, ["pyproxy", "-c", str(file), *flags], **(environment or {}))
        started.append(proxy)
        eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
        assert proxy.process.poll() is None, proxy.said()
        return proxy

    yield begin
    for proxy in started:
        assert "Traceback" not in proxy.said()
        proxy.stop()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running
