"""Two proxies with a tunnel between them, CONNECT streams on a mutual TLS connection, as ambient meshes have it.

The near one takes TCP and asks for tunnels, the far one ends them. Either may be the real Envoy.
"""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

from tests.server.bootstraps import at, bootstrap, endpoint, listener, manager, static_cluster
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command

Json = dict[str, Any]
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
H2: Json = {
    OPTIONS: {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": {"allow_connect": True}},
    }
}
ENDS_HERE: Json = {"upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}


ORIGINAL_DST = "envoy.filters.listener.original_dst"
RESTORES: Json = {
    "name": ORIGINAL_DST,
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"},
}
INTERNAL: Json = {
    "bootstrap_extensions": [
        {
            "name": "envoy.bootstrap.internal_listener",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
            },
        }
    ]
}


def internal_listener(name: str, *filters: Json, **more: Any) -> Json:
    return {"name": name, "internal_listener": {}, "filter_chains": [{"filters": list(filters)}], **more}


def internal_endpoint(name: str, endpoint_id: str, **metadata: Json) -> Json:
    address = {"envoy_internal_address": {"server_listener_name": name, "endpoint_id": endpoint_id}}
    return {"endpoint": {"address": address}, "metadata": {"filter_metadata": metadata}}


def internal_upstream(*of_host: str, of_cluster: tuple[str, ...] = ()) -> Json:
    """A transport socket that passes metadata on."""
    passed = [{"kind": {"host": {}}, "name": name} for name in of_host]
    passed += [{"kind": {"cluster": {}}, "name": name} for name in of_cluster]
    sockets = "type.googleapis.com/envoy.extensions.transport_sockets"
    return {
        "name": "envoy.transport_sockets.internal_upstream",
        "typed_config": {
            "@type": f"{sockets}.internal_upstream.v3.InternalUpstreamTransport",
            "passthrough_metadata": passed,
            "transport_socket": {"name": "raw", "typed_config": {"@type": f"{sockets}.raw_buffer.v3.RawBuffer"}},
        },
    }


def tcp_proxy(cluster: str, hostname: str = "", **more: Any) -> Json:
    typed: Json = {"@type": TCP_PROXY, "stat_prefix": "t", "cluster": cluster, **more}
    if hostname:
        typed["tunneling_config"] = {"hostname": hostname}
    return {"name": "tcp", "typed_config": typed}


class Pair:
    """`near` listens at the ports `ports`; both speak TLS by certificates of one authority."""

    def __init__(self, directory: Path, near: str, far: str) -> None:
        self._directory = directory
        self.kinds = {"near": near, "far": far}
        self._authority = Authority(directory / "ca")
        self._own = {name: self._authority.issue(name) for name in self.kinds}
        self.hbone, self.web, self.other = free_ports(3)
        self.proxies: dict[str, ProxyProcess] = {}

    def common(self, name: str) -> Json:
        chain, key = self._own[name]
        return {
            "tls_certificates": [{"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}],
            "validation_context": {"trusted_ca": {"filename": str(self._authority.ca)}},
            "alpn_protocols": ["h2"],
        }

    def upstream_tls(self) -> Json:
        typed = {"@type": f"{TLS}UpstreamTlsContext", "common_tls_context": self.common("near")}
        return {"name": "tls", "typed_config": typed}

    def out(self, **more: Any) -> Json:
        """The cluster of the near proxy that is the far one."""
        made = static_cluster("out", endpoint(self.hbone), transport_socket=self.upstream_tls(), **more)
        return {**made, "typed_extension_protocol_options": H2}

    def far(self, *clusters: Json, listeners: tuple[Json, ...] = (), **more: Any) -> Json:
        """A bootstrap: tunnels end here, and what is in them goes to the first of the clusters."""
        route = {"route": {"cluster": clusters[0]["name"], **ENDS_HERE}}
        made = manager("hbone", route, http2_protocol_options={"allow_connect": True}, **more)
        made["typed_config"]["route_config"]["virtual_hosts"][0]["routes"][0]["match"] = {"connect_matcher": {}}
        typed = {
            "@type": f"{TLS}DownstreamTlsContext",
            "require_client_certificate": True,
            "common_tls_context": self.common("far"),
        }
        hbone = listener("hbone", self.hbone, made)
        hbone["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": typed}
        return bootstrap([hbone, *listeners], list(clusters), **INTERNAL)

    def start(self, name: str, made: Json, *extra: str) -> ProxyProcess:
        (admin,) = free_ports(1)
        made["admin"] = {"address": at(admin)}
        command = pyproxy_command() if self.kinds[name] == "pyproxy" else envoy_command()
        assert command is not None
        file = self._directory / f"{name}.json"
        file.write_text(json.dumps(made))
        self.proxies[name] = proxy = ProxyProcess.start(name, command, file, admin, extra)
        return proxy

    def stat(self, proxy: str, name: str) -> int:
        for line in self.proxies[proxy].admin(f"/stats?filter={name}")[1].decode().splitlines():
            if line.startswith(f"{name}: "):
                return int(line.rpartition(" ")[2])
        return 0

    def connect(self, port: int = 0) -> socket.socket:
        return socket.create_connection((LOOPBACK, port or self.web), timeout=20)

    def stop(self) -> None:
        for proxy in self.proxies.values():
            proxy.stop()

    def said(self) -> str:
        return "\n".join(proxy.log.read_text("utf-8", "replace") for proxy in self.proxies.values())


def exchange(sock: socket.socket, body: bytes) -> None:
    """What is sent comes back."""
    sender = threading.Thread(target=sock.sendall, args=(body,))
    sender.start()
    came = bytearray()
    while len(came) < len(body):
        data = sock.recv(65_536)
        assert data, len(came)
        came += data
    sender.join()
    assert bytes(came) == body
