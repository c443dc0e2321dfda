"""A gateway and two services with sidecars, told what to do by the development control plane."""

from __future__ import annotations

import http.client
import http.server
import json
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ROOT, ProxyProcess, envoy_command, pyproxy_command

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NAMES = ("v1", "v2", "front", "v1_proxy", "v2_proxy", "front_proxy", "out", "gateway", "xds", "snapshot")
NODES = ("edge", "front", "back")
Answer = tuple[int, str]


class App(http.server.ThreadingHTTPServer):
    """Says what it is called."""

    daemon_threads = True

    def __init__(self, port: int, says: str) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = says.encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: Any) -> None:
                pass

        super().__init__((LOOPBACK, port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Mesh:
    """The control plane, the services and their proxies."""

    def __init__(self, directory: Path, gateway: str, sidecars: str, api_type: str) -> None:
        self.ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
        self._directory = directory
        self._file = directory / "mesh.yaml"
        self._kinds = {"edge": gateway, "front": sidecars, "back": sidecars}
        self._api_type = api_type
        self._apps = [App(self.ports[name], name) for name in ("v1", "v2", "front")]
        self._proxies: list[ProxyProcess] = []
        self.write({"v1": 100, "v2": 0}, ["front"])
        self._plane = self._start_plane()

    def write(self, weights: dict[str, int], allow: list[str]) -> None:
        """The file of the mesh."""

        def at(name: str) -> str:
            return f"{LOOPBACK}:{self.ports[name]}"

        versions = [{"version": name, "app": at(name), "proxy": at(f"{name}_proxy")} for name in ("v1", "v2")]
        back = {"weights": weights, "allow": allow, "timeout": "5s", "instances": versions}
        front = {"calls": {"back": at("out")}, "instances": [{"app": at("front"), "proxy": at("front_proxy")}]}
        routes = [{"service": "front"}, {"prefix": "/back", "service": "back"}]
        services = {"front": front, "back": back}
        telemetry = {"access_log": "stdout", "traces": f"{LOOPBACK}:9", "sampling": 1}
        mesh = {"mtls": True, "telemetry": telemetry, "services": services}
        self._file.write_text(json.dumps({**mesh, "gateways": {"edge": {"listen": at("gateway"), "routes": routes}}}))

    def start(self) -> None:
        for node in NODES:
            command = pyproxy_command() if self._kinds[node] == "pyproxy" else envoy_command()
            assert command is not None
            (admin,) = free_ports(1)
            bootstrap = self._directory / f"{node}.json"
            bootstrap.write_text(json.dumps(self._bootstrap(admin)))
            words = ("--service-cluster", node, "--service-node", f"{node}-1")
            self._proxies.append(ProxyProcess.start(node, command, bootstrap, admin, words))

    def get(self, port: str, path: str = "/") -> Answer:
        connection = http.client.HTTPConnection(LOOPBACK, self.ports[port], timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()

    def snapshot(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.ports['snapshot']}/snapshot") as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def rotate(self) -> None:
        url = f"http://{LOOPBACK}:{self.ports['snapshot']}/rotate"
        urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()

    def kill_plane(self) -> None:
        """As a crash does."""
        self._plane.send_signal(signal.SIGKILL)
        self._plane.wait(20)

    def restart_plane(self) -> None:
        self._plane = self._start_plane()

    def admin(self, node: str, path: str) -> str:
        proxy = next(one for one in self._proxies if one.name == node)
        return proxy.admin(path)[1].decode()

    def manager_of(self, node: str) -> int:
        """The pid of the process that talks to the control plane; 0 while there is none."""
        proxy = next(one for one in self._proxies if one.name == node)
        command = ["ps", "--ppid", str(proxy.process.pid), "-o", "pid=,comm="]
        for line in subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines():
            pid, name = line.split(None, 1)
            if name.strip() == "pyproxy-manager":
                return int(pid)
        return 0

    def logs(self) -> str:
        return "\n".join(f"--- {proxy.name}\n{proxy.log_tail(20)}" for proxy in self._proxies)

    def stop(self) -> None:
        for proxy in self._proxies:
            proxy.stop()
        self._plane.terminate()
        self._plane.wait(20)
        for app in self._apps:
            app.shutdown()
            app.server_close()

    def _start_plane(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pyproxy", "control-plane", "--config", str(self._file)]
        where = ["--xds", f"{LOOPBACK}:{self.ports['xds']}", "--admin", f"{LOOPBACK}:{self.ports['snapshot']}"]
        log = (self._directory / "plane.log").open("wb")
        plane = subprocess.Popen([*command, *where], cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
        log.close()
        assert plane.stdout is not None
        for line in plane.stdout:
            if line.startswith(b"xds "):
                break
        plane.stdout.close()
        return plane

    def _bootstrap(self, admin: int) -> dict[str, Any]:
        ads = {
            "api_type": self._api_type,
            "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
        }
        source = {"ads": {}, "resource_api_version": "V3"}
        http2 = {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}
        address = {"socket_address": {"address": LOOPBACK, "port_value": self.ports["xds"]}}
        cluster = {
            "name": "xds",
            "typed_extension_protocol_options": {OPTIONS: http2},
            "load_assignment": {
                "cluster_name": "xds",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }
        return {
            "admin": {"address": {"socket_address": {"address": LOOPBACK, "port_value": admin}}},
            "dynamic_resources": {"ads_config": ads, "cds_config": source, "lds_config": source},
            "static_resources": {"clusters": [cluster]},
        }
