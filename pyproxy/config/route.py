"""A route table as values (envoy.config.route.v3.RouteConfiguration). `routes.table` builds the live one.

The compile functions are in `config.route_compile`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

from pyproxy.config.config_source import ConfigSourceConfig
from pyproxy.config.headers import NO_CHANGES, HeaderChanges
from pyproxy.config.internal_redirect import InternalRedirectConfig
from pyproxy.config.matchers import Fraction, HeaderMatch, QueryMatch
from pyproxy.config.retry import RetryPolicyConfig
from pyproxy.config.subset import Criteria
from pyproxy.config.tracing import NO_ROUTE_TRACING, RouteTracing

NOTHING: Mapping[str, Any] = MappingProxyType({})


class PathKind(Enum):
    PREFIX = "prefix"
    EXACT = "path"
    SEPARATED_PREFIX = "path_separated_prefix"
    REGEX = "safe_regex"
    TEMPLATE = "uri_template"
    CONNECT = "connect_matcher"


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """When a route is taken. `path` is the prefix, path, regex or template."""

    kind: PathKind
    path: str
    case_sensitive: bool = True
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[QueryMatch, ...] = ()
    fraction: Fraction | None = None
    grpc_only: bool = False


@dataclass(frozen=True, slots=True)
class RegexRewrite:
    """`substitution` uses RE2's `\\1`; `pattern` is matched anywhere and all matches are replaced."""

    pattern: str
    substitution: str


@dataclass(frozen=True, slots=True)
class PathRewrite:
    """At most one is set. `template` is a uri_template rewrite."""

    prefix: str = ""
    regex: RegexRewrite | None = None
    template: str = ""


@dataclass(frozen=True, slots=True)
class HostRewrite:
    """At most one is set."""

    literal: str = ""
    auto: bool = False
    header: bytes = b""
    path_regex: RegexRewrite | None = None
    append_x_forwarded_host: bool = False


class HashKind(Enum):
    HEADER = "header"
    COOKIE = "cookie"
    SOURCE_IP = "connection_properties"
    QUERY = "query_parameter"
    FILTER_STATE = "filter_state"


@dataclass(frozen=True, slots=True)
class HashPolicyConfig:
    """By what requests are spread over hosts that are chosen by a hash (envoy.config.route.v3.RouteAction.HashPolicy).

    A COOKIE with a `ttl` (seconds; 0 for as long as the browser runs) is made where a request has none. A `terminal`
    policy that has found something is the last that is asked.
    """

    kind: HashKind
    name: str = ""
    terminal: bool = False
    rewrite: RegexRewrite | None = None
    ttl: int | None = None
    path: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """Where copies of requests go (envoy.config.route.v3.RouteAction.RequestMirrorPolicy): to a cluster, or to that
    which a header names. `suffix`: the authority of a copy ends in `-shadow`."""

    cluster: str = ""
    header: bytes = b""
    fraction: Fraction | None = None
    suffix: bool = True
    host: str = ""


@dataclass(frozen=True, slots=True)
class FilterOverride:
    """What a route table, virtual host, route or weighted cluster says about one HTTP filter.

    The most specific level that says something wins (Envoy: typed_per_filter_config).
    """

    config: Any = None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class WeightedCluster:
    """One target of a weighted split. Its name, or the header that holds its name."""

    name: str
    weight: int
    header: bytes = b""
    headers: HeaderChanges = NO_CHANGES
    host_rewrite: str = ""
    subset: Criteria | None = None
    filter_configs: Mapping[str, FilterOverride] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ForwardAction:
    """Send it to a cluster. Exactly one of `cluster`, `cluster_header`, `weighted` is set.

    `timeout` is the route timeout in seconds (15 where unset, 0 for none). `idle_timeout` None means the
    connection manager's stream idle timeout. `max_stream_duration` None means the connection manager's,
    `retry` None the virtual host's.
    """

    cluster: str = ""
    cluster_header: bytes = b""
    weighted: tuple[WeightedCluster, ...] = ()
    weighted_runtime_prefix: str = ""
    weighted_random_header: bytes = b""
    cluster_not_found_status: int = 503
    path_rewrite: PathRewrite = PathRewrite()
    host_rewrite: HostRewrite = HostRewrite()
    timeout: float = 15.0
    idle_timeout: float | None = None
    max_stream_duration: float | None = None
    retry: RetryPolicyConfig | None = None
    upgrades: tuple[tuple[bytes, bool], ...] = ()
    """(protocol, allowed): goes before what the connection manager says."""
    ends_connect: bool = False
    """A CONNECT is no request to the upstream, but a TCP connection to it."""
    grpc_timeout_max: float | None = None
    """The most that `grpc-timeout` may ask for; 0 for any, None where it is not listened to."""
    grpc_timeout_offset: float = 0.0
    """Taken off it, so that we answer before the downstream gives up."""
    priority_high: bool = False
    hedge: bool | None = None
    """A try that takes longer than `per_try_timeout` is not given up: another one runs beside it."""
    subset: Criteria | None = None
    hash_policies: tuple[HashPolicyConfig, ...] = ()
    mirrors: tuple[MirrorConfig, ...] = ()
    internal_redirects: InternalRedirectConfig | None = None
    """Which redirects of the upstream are followed here; None where all are passed on."""


@dataclass(frozen=True, slots=True)
class RedirectAction:
    """Answer with a redirect (envoy.config.route.v3.RedirectAction). `port` 0 keeps the port."""

    status: int = 301
    https: bool = False
    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    prefix_rewrite: str = ""
    regex_rewrite: RegexRewrite | None = None
    strip_query: bool = False


@dataclass(frozen=True, slots=True)
class DirectResponseAction:
    """Answer without an upstream."""

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class NonForwardingAction:
    """A route that matches and forwards nothing: Envoy answers 404."""


Action = ForwardAction | RedirectAction | DirectResponseAction | NonForwardingAction


@dataclass(frozen=True, slots=True)
class RouteConfig:
    """One route. `filter_configs` maps the names of filters to what the route says about them.

    `body_buffer_limit` bounds what is kept of a body to send it again; None means the virtual host's, and if that
    says nothing the listener's `per_connection_buffer_limit_bytes`.
    """

    match: RouteMatch
    action: Action
    name: str = ""
    headers: HeaderChanges = NO_CHANGES
    body_buffer_limit: int | None = None
    filter_configs: Mapping[str, FilterOverride] = field(default_factory=dict, hash=False)
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tracing: RouteTracing = NO_ROUTE_TRACING
    stat_prefix: str = ""
    """Its requests are counted under this name, too."""


@dataclass(frozen=True, slots=True)
class VirtualClusterConfig:
    """A named group of requests with statistics of its own."""

    name: str
    headers: tuple[HeaderMatch, ...]


@dataclass(frozen=True, slots=True)
class VirtualHostConfig:
    """Routes for a set of domains.

    `tell_timeout_retries` tells the upstream in x-envoy-is-timeout-retry whether the try before timed out.
    """

    name: str
    domains: tuple[str, ...]
    routes: tuple[RouteConfig, ...] = ()
    headers: HeaderChanges = NO_CHANGES
    retry: RetryPolicyConfig | None = None
    body_buffer_limit: int | None = None
    tell_timeout_retries: bool = False
    hedge: bool = False
    mirrors: tuple[MirrorConfig, ...] = ()
    require_tls: str = "NONE"
    virtual_clusters: tuple[VirtualClusterConfig, ...] = ()
    include_attempt_count_in_request: bool = False
    include_attempt_count_in_response: bool = False
    filter_configs: Mapping[str, FilterOverride] = field(default_factory=dict, hash=False)
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class RouteTableConfig:
    """A whole RouteConfiguration. `most_specific_headers_win` turns the order in which levels change headers round."""

    name: str = ""
    virtual_hosts: tuple[VirtualHostConfig, ...] = ()
    headers: HeaderChanges = NO_CHANGES
    most_specific_headers_win: bool = False
    internal_only_headers: tuple[bytes, ...] = ()
    ignore_port: bool = False
    vhost_header: bytes = b""
    mirrors: tuple[MirrorConfig, ...] = ()
    filter_configs: Mapping[str, FilterOverride] = field(default_factory=dict, hash=False)
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    vhds: ConfigSourceConfig | None = None
    """Where more virtual hosts come from."""

    def forward_actions(self) -> Iterator[ForwardAction]:
        """Of all routes that go to an upstream."""
        for virtual_host in self.virtual_hosts:
            for route in virtual_host.routes:
                if isinstance(route.action, ForwardAction):
                    yield route.action
