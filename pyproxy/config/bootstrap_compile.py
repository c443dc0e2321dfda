"""Compiles a bootstrap: protobuf -> `config.bootstrap` values. Envoy: envoy.config.bootstrap.v3.Bootstrap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from pyproxy.config.access_log_compile import compile_access_logs, default_access_log
from pyproxy.config.address import compile_address
from pyproxy.config.bind import BindConfig, compile_bind
from pyproxy.config.bootstrap import NOTHING_DYNAMIC, AdminConfig, BootstrapConfig, NodeConfig, RtdsLayerConfig
from pyproxy.config.cluster import ClusterConfig
from pyproxy.config.cluster_compile import compile_cluster
from pyproxy.config.config_source import DynamicResourcesConfig
from pyproxy.config.config_source_compile import compile_config_source, compile_dynamic_resources
from pyproxy.config.dns_compile import compile_resolver
from pyproxy.config.extensions import CompileContext
from pyproxy.config.listener import ListenerConfig
from pyproxy.config.listener_compile import compile_listener
from pyproxy.config.overload_compile import compile_connection_limit
from pyproxy.config.parts import not_yet, part
from pyproxy.config.stats_compile import compile_stats
from pyproxy.config.tls_compile import check_secret
from pyproxy.config.tracing_compile import compile_default_tracer
from pyproxy.config.view import View

_INTERNAL_LISTENERS: Final = b"envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
_HEADER_PREFIX: Final = "x-envoy"
_NO_FORMAT: Final[str | Mapping[str, str]] = ""
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def compile_bootstrap_view(view: View, context: CompileContext) -> BootstrapConfig:
    """A `Bootstrap`. Every part is compiled, whatever is wrong with the others."""
    report = view.report
    _ignore_what_means_nothing(view)
    context.bind = part(report, None, lambda: _bind(view))
    resources = view.child("static_resources")
    if resources is not None:
        report.static_secrets = _secrets(resources)
    clusters = () if resources is None else _clusters(resources, context)
    context.tracer = part(report, None, lambda: compile_default_tracer(view, context))
    listeners = () if resources is None else _listeners(resources, context)
    return BootstrapConfig(
        node=_node(view),
        admin=part(report, None, lambda: _admin(view)),
        listeners=listeners,
        clusters=clusters,
        runtime_layers=part(report, (), lambda: _runtime_layers(view)),
        rtds_layers=part(report, (), lambda: _rtds_layers(view, context)),
        stats=compile_stats(view, context),
        tracer=context.tracer,
        local_cluster=part(report, "", lambda: _local_cluster(view)),
        outlier_log=_outlier_log(view),
        bind=context.bind,
        resolver=part(report, None, lambda: compile_resolver(view)),
        max_connections=part(report, 0, lambda: compile_connection_limit(view)),
        log_format=part(report, _NO_FORMAT, lambda: _log_format(view)),
        secrets=MappingProxyType(dict(report.static_secrets)),
        dynamic=part(report, NOTHING_DYNAMIC, lambda: _dynamic(view, context)),
    )


def _bind(view: View) -> BindConfig | None:
    manager = view.child("cluster_manager")
    return None if manager is None else compile_bind(manager)


def cluster_names(message: Any) -> frozenset[str]:
    """The names of all static clusters, the faulty ones too: a reference to them is not wrong."""
    return frozenset(cluster.name for cluster in message.static_resources.clusters)


def _dynamic(view: View, context: CompileContext) -> DynamicResourcesConfig:
    resources = view.child("dynamic_resources")
    return NOTHING_DYNAMIC if resources is None else compile_dynamic_resources(resources, context)


def _ignore_what_means_nothing(view: View) -> None:
    """Settings of Envoy's own machinery, and of what is refused by itself where it is used."""
    view.ignore("node_context_params", "deferred_stat_options", "enable_dispatcher_stats", "inline_headers")
    view.ignore("memory_allocator_manager", "grpc_async_client_manager_config", "perf_tracing_file_path")
    view.ignore("default_regex_engine")  # there is one only, Google's RE2, and ours has its meaning
    if view.message.header_prefix in ("", _HEADER_PREFIX):  # type: ignore[attr-defined]
        view.ignore("header_prefix")
    for extension in view.children("bootstrap_extensions"):
        packed = extension.message.typed_config  # type: ignore[attr-defined]
        if _INTERNAL_LISTENERS in packed.type_url.encode() + packed.value:  # also inside of a TypedStruct
            extension.ignore("name", "typed_config")  # internal listeners need not be asked for; the kernel has buffers
    manager = view.child("cluster_manager")
    if manager is not None:
        manager.ignore("enable_deferred_cluster_creation")  # clusters are always made at their first use


def _local_cluster(view: View) -> str:
    manager = view.child("cluster_manager")
    name = "" if manager is None else manager.text("local_cluster_name")
    if manager is not None and name:
        known = cluster_names(view.message)
        if name not in known:
            manager.fail_unknown("local_cluster_name", "static cluster", name, known)
    return name


def _outlier_log(view: View) -> str:
    manager = view.child("cluster_manager")
    detection = None if manager is None else manager.child("outlier_detection")
    return "" if detection is None else detection.text("event_log_path")


def _secrets(resources: View) -> dict[str, bytes]:
    """Static secrets, by name, the faulty ones too: what names them is not wrong."""
    _check_unique(resources, "secrets", "secret")
    for one in resources.children("secrets"):
        with one.report.isolate():
            one.text("name")
            if one.oneof("type") in ("tls_certificate", "validation_context"):
                check_secret(one)
    return {
        one.name: one.SerializeToString(deterministic=True)
        for one in resources.message.secrets  # type: ignore[attr-defined]
    }


def _clusters(resources: View, context: CompileContext) -> tuple[ClusterConfig, ...]:
    _check_unique(resources, "clusters", "cluster")
    return resources.each("clusters", lambda one: compile_cluster(one, context))


def _listeners(resources: View, context: CompileContext) -> tuple[ListenerConfig, ...]:
    _check_unique(resources, "listeners", "listener")
    listeners = resources.each("listeners", lambda one: compile_listener(one, context))
    _check_addresses(resources, listeners)
    return tuple(_with_own_names(listeners))


def _check_unique(resources: View, field: str, what: str) -> None:
    """Envoy refuses a second cluster of a name, and leaves out a second listener of a name without a word."""
    first: dict[str, int] = {}
    for at, message in enumerate(getattr(resources.message, field)):
        name = message.name
        if name and name in first:
            path = (*resources.path, field, at, "name")
            resources.report.add(path, f"{field}[{first[name]}] is a {what} of the name {name!r} already")
        first.setdefault(name, at)


def _check_addresses(resources: View, listeners: Iterable[ListenerConfig]) -> None:
    seen: dict[str, str] = {}
    for listener in listeners:
        for address in listener.addresses:
            if not address.pipe and not address.port:
                continue
            key = str(address)
            if key in seen:
                path = (*resources.path, "listeners")
                resources.report.add(path, f"the listeners {seen[key]!r} and {listener.name!r} have the address {key}")
            seen.setdefault(key, listener.name)


def _with_own_names(listeners: Iterable[ListenerConfig]) -> Iterable[ListenerConfig]:
    """Listeners without a name are called by their address, and that may be `127.0.0.1:0` for several of them."""
    taken: set[str] = set()
    for listener in listeners:
        name, again = listener.name, 1
        while name in taken:
            again += 1
            name = f"{listener.name}#{again}"
        taken.add(name)
        yield listener if name == listener.name else replace(listener, name=name)


def _node(view: View) -> NodeConfig:
    node = view.child("node")
    if node is None:
        return NodeConfig()
    # What a client of xDS tells about itself.
    node.ignore("user_agent_name", "user_agent_version", "user_agent_build_version", "extensions", "client_features")
    node.ignore("listening_addresses")
    locality = node.child("locality")
    region, zone, sub_zone = ("", "", "") if locality is None else map(locality.text, ("region", "zone", "sub_zone"))
    metadata = node.struct("metadata")
    return NodeConfig(
        id=node.text("id"),
        cluster=node.text("cluster"),
        region=region,
        zone=zone,
        sub_zone=sub_zone,
        metadata=MappingProxyType(metadata) if metadata else _NOTHING,
    )


def _admin(view: View) -> AdminConfig | None:
    admin = view.child("admin")
    if admin is None:
        return None
    admin.ignore("profile_path", "ignore_global_conn_limit")  # no profiler, and no limit to be exempt from
    logs = compile_access_logs(not_yet(admin))
    path = not_yet(admin).text("access_log_path")
    if path:
        logs = (*logs, default_access_log(path))
    address = admin.child("address")
    return None if address is None else AdminConfig(compile_address(address), logs)


def _runtime_layers(view: View) -> tuple[Mapping[str, Any], ...]:
    runtime = view.child("layered_runtime")
    if runtime is None:
        return ()
    layers: list[Mapping[str, Any]] = []
    names: set[str] = set()
    for layer in runtime.children("layers"):
        name = layer.text("name")
        if name in names:
            layer.fail("name", f"a layer of the name {name!r} stands before")
        names.add(name)
        layer.ignore("admin_layer")  # it is empty until somebody writes to it, and nobody can
        values = layer.struct("static_layer")
        layers.append(_NOTHING if values is None else MappingProxyType(values))
    return tuple(layers)


def _rtds_layers(view: View, context: CompileContext) -> tuple[RtdsLayerConfig, ...]:
    runtime = view.child("layered_runtime")
    found: list[RtdsLayerConfig] = []
    for at, layer in enumerate(() if runtime is None else runtime.children("layers")):
        rtds = layer.child("rtds_layer")
        if rtds is not None:
            source = compile_config_source(rtds.need("rtds_config"), context)
            found.append(RtdsLayerConfig(at, source, rtds.text("name") or layer.text("name")))
    return tuple(found)


def _log_format(view: View) -> str | Mapping[str, str]:
    """Of the application log."""
    config = view.child("application_log_config")
    log_format = None if config is None else config.child("log_format")
    if log_format is None:
        return ""
    if log_format.oneof("log_format") == "text_format":
        return log_format.text("text_format")
    fields = log_format.struct("json_format") or {}
    for name, pattern in fields.items():
        if not isinstance(pattern, str):
            log_format.fail("json_format", f"the value of {name!r} is not a text", expected="a pattern such as '%v'")
    return MappingProxyType(fields)
