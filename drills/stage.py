"""One proxy with two upstreams on free ports; everything that was started ends with the stage."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TYPE = "type.googleapis.com/envoy.extensions.filters"
READY_SECONDS = 60.0
Json = dict[str, Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _at(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


class Stage:
    """`async with Stage(command, route, cluster)`: the fields are added to the route and to the cluster.

    `manager` is added to the connection manager.

    With `regions` each two upstreams are a region, and each region is a priority: the first one takes all it can.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        route: Json,
        cluster: Json,
        regions: tuple[str, ...] = (),
        manager: Json | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self.port, self.admin = free_port(), free_port()
        self.regions = regions
        self.ports = [free_port() for _ in range(2 * max(1, len(regions)))]
        self.upstreams: dict[int, subprocess.Popen[str]] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="drill-")
        self._config = self._bootstrap(route, cluster, manager or {})
        self.proxy: subprocess.Popen[bytes] | None = None

    def _bootstrap(self, route: Json, cluster: Json, manager: Json) -> Json:
        hcm = {
            "@type": f"{TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "drill",
            **manager,
            "http_filters": [
                {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPE}.http.router.v3.Router"}}
            ],
            "route_config": {
                "response_headers_to_add": [{"header": {"key": "x-host", "value": "%UPSTREAM_HOST%"}}],
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up", **route}}],
                    }
                ],
            },
        }
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm}]}
        return {
            "admin": {"address": _at(self.admin)},
            "static_resources": {
                "listeners": [{"name": "in", "address": _at(self.port), "filter_chains": [chain]}],
                "clusters": [
                    {
                        "name": "up",
                        "type": "STATIC",
                        "connect_timeout": "1s",
                        "load_assignment": {"cluster_name": "up", "endpoints": self._endpoints()},
                        **cluster,
                    }
                ],
            },
        }

    def _endpoints(self) -> list[Json]:
        hosts = [{"endpoint": {"address": _at(port)}} for port in self.ports]
        if not self.regions:
            return [{"lb_endpoints": hosts}]
        return [
            {"locality": {"region": region}, "priority": at, "lb_endpoints": hosts[2 * at : 2 * at + 2]}
            for at, region in enumerate(self.regions)
        ]

    def region_of(self, host: str) -> str:
        return self.regions[self.ports.index(int(host.rpartition(":")[2])) // 2]

    async def __aenter__(self) -> "Stage":
        for port in self.ports:
            self.start_upstream(port)
        path = Path(self._directory.name) / "bootstrap.json"
        path.write_text(json.dumps(self._config), "utf-8")
        log = (Path(self._directory.name) / "proxy.log").open("wb")
        self.proxy = subprocess.Popen(
            [*self._command, "-c", str(path), "--concurrency", "1", "--use-dynamic-base-id"],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=ROOT,
        )
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(OSError):
                if await asyncio.to_thread(self.ask, "/ready") is not None:
                    return self
            await asyncio.sleep(0.1)
        await self.__aexit__()
        raise RuntimeError(f"{self.name} did not become ready")

    async def __aexit__(self, *_: object) -> None:
        if self.proxy is not None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.proxy.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(self.proxy.wait, 5)
        for upstream in self.upstreams.values():
            upstream.kill()
            upstream.wait()
        self._directory.cleanup()

    def start_upstream(self, port: int) -> None:
        self.upstreams[port] = subprocess.Popen(
            [sys.executable, "-m", "drills.upstream", str(port)], stdin=subprocess.PIPE, text=True, cwd=ROOT
        )

    def kill_upstream(self, port: int) -> None:
        self.upstreams[port].kill()
        self.upstreams[port].wait()

    def tell(self, manners: str) -> None:
        """To all upstreams."""
        for upstream in self.upstreams.values():
            assert upstream.stdin is not None
            upstream.stdin.write(f"{manners}\n")
            upstream.stdin.flush()

    def ask(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=2) as answer:
                body: str = answer.read().decode()
                return body
        except urllib.error.HTTPError:
            return None

    async def stat(self, name: str) -> int:
        await asyncio.sleep(0.7)  # workers hand their numbers over a few times a second
        text = await asyncio.to_thread(self.ask, f"/stats?filter=^cluster.up.{name}$") or ""
        return int(text.rpartition(": ")[2] or 0)

    def memory_kb(self) -> int:
        """Resident, of all processes of the proxy."""
        assert self.proxy is not None
        total = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, ProcessLookupError):
                    if os.getsid(int(entry.name)) == self.proxy.pid:
                        pages = int((entry / "statm").read_text().split()[1])
                        total += pages * 4
        return total
