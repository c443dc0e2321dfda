"""A mesh as values: what one short file says about services, who may call whom, and who comes in from outside.

The file is described in docs/control-plane.md; `control_plane.mesh_file` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of a service. `proxy` is its sidecar; without one it is called directly, in plain text.

    `node` is what its sidecar is called; without one, every proxy of the service is a sidecar of this copy. `calls`
    adds to those of the service.
    """

    version: str
    app: HostPort
    proxy: HostPort | None = None
    node: str = ""
    calls: Mapping[str, HostPort] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Retries:
    """`on` are Envoy's conditions; times are in seconds, 0 for none."""

    attempts: int = 1
    on: str = "connect-failure,refused-stream,reset"
    per_try_timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class Breakers:
    """Limits of what one proxy sends to a version at a time."""

    connections: int = 1024
    pending: int = 1024
    requests: int = 1024
    retries: int = 3


@dataclass(frozen=True, slots=True)
class Outliers:
    """Hosts that fail so many times in a row are left out for a while (seconds)."""

    consecutive_5xx: int = 5
    ejection_time: float = 30.0
    interval: float = 10.0


@dataclass(frozen=True, slots=True)
class Service:
    """`weights` by version; `calls` where its own sidecar listens for another service, by that service's name."""

    name: str
    instances: tuple[Instance, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict, hash=False)
    calls: Mapping[str, HostPort] = field(default_factory=dict, hash=False)
    allow: tuple[str, ...] | None = None
    """The services that may call it; None for all."""
    timeout: float = 15.0
    retries: Retries | None = None
    breakers: Breakers | None = None
    outliers: Outliers | None = None

    @property
    def versions(self) -> tuple[str, ...]:
        """In the order of the file."""
        return tuple(dict.fromkeys(one.version for one in self.instances))

    def beside(self, node: str) -> tuple[Instance, ...]:
        """Those whose sidecar a proxy of that name is."""
        named = tuple(one for one in self.instances if node and one.node == node)
        return named or tuple(one for one in self.instances if not one.node)

    def of_version(self, version: str) -> tuple[Instance, ...]:
        return tuple(one for one in self.instances if one.version == version)


@dataclass(frozen=True, slots=True)
class GatewayRoute:
    """Requests for `host` (`*` for any) whose path begins with `prefix` go to a service."""

    service: str
    host: str = "*"
    prefix: str = "/"


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where requests come into the mesh."""

    name: str
    listen: HostPort
    routes: tuple[GatewayRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What all proxies tell: a line of JSON for each request (`access_log` is `stdout` or a path), and spans by OTLP
    over HTTP, of so many percent of the requests that begin here."""

    access_log: str = ""
    traces: HostPort | None = None
    sampling: int = 100


@dataclass(frozen=True, slots=True)
class Mesh:
    """Everything. With `mtls` sidecars speak TLS to each other and know each other by SPIFFE ID."""

    services: Mapping[str, Service] = field(default_factory=dict, hash=False)
    gateways: Mapping[str, Gateway] = field(default_factory=dict, hash=False)
    mtls: bool = False
    trust_domain: str = "cluster.local"
    certificate_days: int = 1
    telemetry: Telemetry = Telemetry()

    def spiffe_id(self, name: str) -> str:
        """Of a service or gateway."""
        return f"spiffe://{self.trust_domain}/{name}"
