"""A proxy that takes WebSocket to an upstream: `web` by HTTP/1, `far` through itself by extended CONNECT of HTTP/2."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.test_http2 import h2_options
from tests.server.bootstraps import bootstrap, endpoint, listener, manager, static_cluster
from tests.server.running import Running, eventually
from tests.support.ports import free_ports

WEBSOCKET = {"upgrade_configs": [{"upgrade_type": "websocket"}]}
H2 = {"allow_connect": True}


def start_hops(directory: Path, port: int, **environment: str) -> Running:
    (inner,) = free_ports(1)
    up, again = ({"route": {"cluster": name, "timeout": "0s"}} for name in ("up", "again"))
    made = bootstrap(
        [
            listener("web", 0, manager("web", up, **WEBSOCKET)),
            listener("far", 0, manager("far", again, **WEBSOCKET)),
            listener("inner", inner, manager("inner", up, http2_protocol_options=H2, **WEBSOCKET)),
        ],
        [static_cluster("up", endpoint(port)), static_cluster("again", endpoint(inner), **h2_options(**H2))],
    )
    file = directory / "bootstrap.json"
    file.write_text(json.dumps(made))
    proxy = Running(directory, ["pyproxy", "-c", str(file), "--concurrency", "1"], **environment)
    eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
    assert proxy.process.poll() is None, proxy.said()
    return proxy
