"""Resources as they come from a control plane or a file: serialised messages, each compiled by itself.

Compiling is pure: its verdict is the answer to whoever sent the resource. A process that gets what another one has
found good compiles it again, without looking for faults.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError, Message

from pyproxy.config import pgv, unsupported
from pyproxy.config.bind import BindConfig
from pyproxy.config.cluster import AssignmentConfig, ClusterConfig
from pyproxy.config.cluster_compile import compile_cluster
from pyproxy.config.descriptors import message_class
from pyproxy.config.endpoint_compile import compile_assignment
from pyproxy.config.extensions import Category, CompileContext, Extensions, compile_discovered
from pyproxy.config.invalid import Fault, InvalidConfig, Report, Unhonoured
from pyproxy.config.listener import FilterConfig, ListenerConfig
from pyproxy.config.listener_compile import compile_listener
from pyproxy.config.route import RouteTableConfig
from pyproxy.config.route_compile import compile_route_table, compile_virtual_host
from pyproxy.config.scoped_routes import ScopeConfig
from pyproxy.config.scoped_routes_compile import compile_scope
from pyproxy.config.tls_compile import check_secret
from pyproxy.config.tracing import TracerConfig
from pyproxy.config.view import View

T = TypeVar("T")

URL_PREFIX: Final = "type.googleapis.com/"


class ResourceType(Enum):
    """The value is the name of the message."""

    CLUSTER = "envoy.config.cluster.v3.Cluster"
    ENDPOINTS = "envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "envoy.config.listener.v3.Listener"
    ROUTES = "envoy.config.route.v3.RouteConfiguration"
    RUNTIME = "envoy.service.runtime.v3.Runtime"
    SCOPED_ROUTES = "envoy.config.route.v3.ScopedRouteConfiguration"
    VIRTUAL_HOST = "envoy.config.route.v3.VirtualHost"
    EXTENSION = "envoy.config.core.v3.TypedExtensionConfig"
    SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"

    @property
    def url(self) -> str:
        return f"{URL_PREFIX}{self.value}"


_RESPONSE: Final = "envoy.service.discovery.v3.DiscoveryResponse"
_NAME_FIELD: Final = {ResourceType.ENDPOINTS: "cluster_name"}


def parse(kind: ResourceType, body: bytes) -> Message:
    """The message. Raises InvalidConfig where the bytes are not one."""
    try:
        return message_class(kind.value).FromString(body)
    except DecodeError:
        raise InvalidConfig([Fault((), f"the bytes are not a {kind.value}")]) from None


def name_of(kind: ResourceType, message: Message) -> str:
    """What a resource calls itself."""
    return str(getattr(message, _NAME_FIELD.get(kind, "name")))


def pack_scopes(bodies: Iterable[bytes]) -> bytes:
    """Many `ScopedRouteConfiguration`s in one message."""
    packed: Any = message_class(_RESPONSE)()
    for body in bodies:
        packed.resources.add(type_url=ResourceType.SCOPED_ROUTES.url, value=body)
    data: bytes = packed.SerializeToString()
    return data


def unpack_scopes(data: bytes) -> list[bytes]:
    """What `pack_scopes` has packed."""
    packed: Any = message_class(_RESPONSE).FromString(data)
    return [one.value for one in packed.resources]


def empty_assignment(name: str) -> bytes:
    """A `ClusterLoadAssignment` without hosts."""
    return message_class(ResourceType.ENDPOINTS.value)(cluster_name=name).SerializeToString()


@dataclass(frozen=True, slots=True)
class ResourceCompiler:
    """`check` says whether the rules of the API are looked at too: whoever compiles first does that."""

    extensions: Extensions
    allow_unknown: bool = False
    check: bool = False
    tell: Callable[[ResourceType, str, tuple[Unhonoured, ...]], None] | None = None
    """Hears of the fields of each good resource that are not honoured, be they none."""

    tracer: TracerConfig | None = None
    """That of the bootstrap."""
    bind: BindConfig | None = None
    """For clusters that do not say where their connections come from."""

    secrets: Mapping[str, bytes] = field(default_factory=dict)
    """Its static secrets, by name."""

    def cluster(self, body: bytes) -> ClusterConfig:
        """Raises InvalidConfig with all faults, as all of these do."""
        return self._compile(ResourceType.CLUSTER, body, lambda view: compile_cluster(view, self._context(None)))

    def endpoints(self, body: bytes) -> AssignmentConfig:
        return self._compile(ResourceType.ENDPOINTS, body, compile_assignment)

    def routes(self, body: bytes, clusters: frozenset[str] | None = None) -> RouteTableConfig:
        """`clusters` are the names of all clusters there are, None where that does not matter."""
        context = self._context(clusters)
        return self._compile(
            ResourceType.ROUTES, body, lambda view: compile_route_table(view, context, validate=False, vhds=True)
        )

    def scope(self, body: bytes) -> ScopeConfig:
        """A `ScopedRouteConfiguration`."""
        context = self._context(None)
        return self._compile(ResourceType.SCOPED_ROUTES, body, lambda view: compile_scope(view, context))

    def extension(self, body: bytes, category: Category, types: Collection[str] = ()) -> FilterConfig:
        """A `TypedExtensionConfig` for a filter, of one of some types."""

        def compile_one(view: View) -> FilterConfig:
            typed = view.any("typed_config")
            if typed is None:
                view.fail("typed_config", "is required")
            return compile_discovered(view.text("name"), typed, self._context(None), category, types)

        return self._compile(ResourceType.EXTENSION, body, compile_one)

    def virtual_host(self, body: bytes) -> None:
        """Only looks for faults: a table is compiled with all its virtual hosts."""
        context = self._context(None)
        self._compile(ResourceType.VIRTUAL_HOST, body, lambda view: compile_virtual_host(view, context))

    def runtime(self, body: bytes) -> Mapping[str, Any]:
        """The values of a runtime layer."""
        return self._compile(ResourceType.RUNTIME, body, lambda view: view.struct("layer") or {})

    def secret(self, body: bytes) -> None:
        """Only looks for faults: a context is compiled with all its secrets."""
        self._compile(ResourceType.SECRET, body, check_secret)

    def listener(self, body: bytes, clusters: frozenset[str] | None = None) -> ListenerConfig:
        context = self._context(clusters)
        return self._compile(ResourceType.LISTENER, body, lambda view: compile_listener(view, context))

    def _context(self, clusters: frozenset[str] | None) -> CompileContext:
        context = CompileContext(self.extensions, clusters)
        context.tracer = self.tracer
        context.bind = self.bind
        return context

    def _compile(self, kind: ResourceType, body: bytes, compile_one: Callable[[View], T]) -> T:
        message: Any = parse(kind, body)
        report = Report(allow_unknown_fields=self.allow_unknown, static_secrets=self.secrets)
        if self.check:
            report.faults.extend(pgv.validate(message, allow_unknown=self.allow_unknown))
            report.raise_if_faulty()
        view = View(message, (), report)
        made = compile_one(view)
        report.raise_if_faulty()
        if self.tell is not None:
            self.tell(kind, name_of(kind, message), tuple(unsupported.collect(view)))
        return made
