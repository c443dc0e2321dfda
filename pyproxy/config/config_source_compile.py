"""Compiles where resources come from: protobuf -> `config.config_source` values.

Envoy: envoy.config.core.v3.ConfigSource and ApiConfigSource, envoy.config.bootstrap.v3.Bootstrap.DynamicResources.
"""

from __future__ import annotations

import base64
from typing import Final

from pyproxy.config.config_source import (
    INITIAL_FETCH_TIMEOUT,
    AdsSourceConfig,
    ApiSourceConfig,
    ApiType,
    ConfigSourceConfig,
    DynamicResourcesConfig,
    OnDemandClustersConfig,
    PathSourceConfig,
    RateLimitConfig,
    SelfSourceConfig,
    SourceConfig,
)
from pyproxy.config.descriptors import message_class
from pyproxy.config.extensions import CompileContext, Extensions
from pyproxy.config.grpc_service_compile import compile_grpc_service
from pyproxy.config.invalid import Report
from pyproxy.config.view import View

_SOURCES: Final = "path_config_source, api_config_source, ads or self"


def compile_config_source(view: View, context: CompileContext) -> ConfigSourceConfig:
    """A `ConfigSource`. Whether there is an ADS stream for `ads` is not known here."""
    version = view.enum("resource_api_version")
    if version == "V2":
        view.fail("resource_api_version", "Envoy's v2 API is gone", expected="V3")
    timeout = view.seconds("initial_fetch_timeout")
    return ConfigSourceConfig(_source(view, context), INITIAL_FETCH_TIMEOUT if timeout is None else timeout)


def compile_api_source(view: View, context: CompileContext) -> ApiSourceConfig:
    """An `ApiConfigSource`."""
    kind = view.enum("api_type")
    if kind not in ApiType.__members__:
        view.fail("api_type", f"{kind} is gone", expected="one of " + ", ".join(ApiType.__members__))
    if view.enum("transport_api_version") != "V3":
        view.fail("transport_api_version", "Envoy's v2 API is gone, and AUTO stands for it", expected="V3")
    if view.message.config_validators:  # type: ignore[attr-defined]
        view.fail("config_validators", "are not supported")
    api_type = ApiType[kind]
    if api_type is ApiType.REST:
        return _rest(view, context)
    return _grpc(view, api_type, context)


def compile_on_demand_clusters(
    view: View, context: CompileContext, *, source_name: str = "source", seconds: float = 5.0
) -> OnDemandClustersConfig:
    """An `OnDemandCds`, or `TcpProxy.OnDemand`. `seconds` is how long is waited where nothing is said."""
    source = view.need(source_name)
    found = compile_config_source(source, context)
    if isinstance(found.source, ApiSourceConfig) and not found.source.api_type.delta:
        view.fail(source_name, f"{found.source.api_type.value} tells of no single cluster", expected="DELTA_GRPC")
    if view.text("resources_locator"):
        view.fail("resources_locator", "collections of clusters on demand are not supported yet")
    timeout = view.seconds("timeout")
    spec = base64.b64encode(source.message.SerializeToString(deterministic=True)).decode()
    return OnDemandClustersConfig(spec, seconds if timeout is None else timeout)


def source_of_spec(spec: str) -> ConfigSourceConfig:
    """The source of an `OnDemandClustersConfig`."""
    message = message_class("envoy.config.core.v3.ConfigSource").FromString(base64.b64decode(spec))
    return compile_config_source(View(message, (), Report()), CompileContext(Extensions()))


def compile_dynamic_resources(view: View, context: CompileContext) -> DynamicResourcesConfig:
    """`dynamic_resources` of a bootstrap."""
    ads = view.child("ads_config")
    sources = {name: view.child(name) for name in ("lds_config", "cds_config")}
    lds, cds = (None if found is None else compile_config_source(found, context) for found in sources.values())
    for name, source in (("lds_config", lds), ("cds_config", cds)):
        if source is not None and isinstance(source.source, AdsSourceConfig) and ads is None:
            view.fail(name, "says ads, and there is no ads_config")
    return DynamicResourcesConfig(
        lds=lds,
        lds_locator=_locator(view, "lds_resources_locator"),
        cds=cds,
        cds_locator=_locator(view, "cds_resources_locator"),
        ads=None if ads is None else compile_api_source(ads, context),
    )


def _locator(view: View, name: str) -> str:
    locator = view.text(name)
    if locator and not locator.startswith("xdstp://"):
        view.fail(name, f"{locator!r} is no collection", expected="xdstp://AUTHORITY/TYPE/ID/*")
    return locator


def _source(view: View, context: CompileContext) -> SourceConfig:
    match view.oneof("config_source_specifier"):
        case "path_config_source":
            found = view.need("path_config_source")
            directory = found.child("watched_directory")
            return PathSourceConfig(found.text("path"), "" if directory is None else directory.text("path"))
        case "path":
            return PathSourceConfig(view.text("path"))
        case "api_config_source":
            return compile_api_source(view.need("api_config_source"), context)
        case "ads":
            view.need("ads").ignore("transport_api_version")
            return AdsSourceConfig()
        case "self":
            view.need("self").ignore("transport_api_version")
            return SelfSourceConfig()
        case _:
            view.fail("", "says nothing about where resources come from", expected=_SOURCES)


def _grpc(view: View, api_type: ApiType, context: CompileContext) -> ApiSourceConfig:
    view.ignore("refresh_delay", "request_timeout")  # of REST
    services = view.children("grpc_services")
    if view.message.cluster_names:  # type: ignore[attr-defined]
        view.fail("cluster_names", "is for REST", expected="grpc_services")
    if not services or len(services) > 2:
        view.fail(
            "grpc_services", f"holds {len(services)} services", expected="one, or two with the one to fall back to"
        )
    return ApiSourceConfig(
        api_type,
        services=tuple(compile_grpc_service(one, context) for one in services),
        rate_limit=_rate_limit(view),
        set_node_on_first_message_only=bool(view.scalar("set_node_on_first_message_only")),
    )


def _rest(view: View, context: CompileContext) -> ApiSourceConfig:
    view.ignore("set_node_on_first_message_only", "rate_limit_settings")  # each request stands for itself
    names = tuple(str(name) for name in view.scalars("cluster_names"))
    if view.message.grpc_services:  # type: ignore[attr-defined]
        view.fail("grpc_services", "is for gRPC", expected="cluster_names")
    if len(names) != 1:
        view.fail("cluster_names", f"holds {len(names)} names", expected="one")
    context.check_cluster(view, "cluster_names", names[0])
    delay = view.seconds("refresh_delay")
    if not delay:
        view.fail("refresh_delay", "is required for REST")
    timeout = view.seconds("request_timeout")
    return ApiSourceConfig(
        ApiType.REST,
        clusters=names,
        refresh_delay=delay,
        request_timeout=ApiSourceConfig(ApiType.REST).request_timeout if timeout is None else timeout,
    )


def _rate_limit(view: View) -> RateLimitConfig | None:
    found = view.child("rate_limit_settings")
    if found is None:
        return None
    most, rate = found.wrapped("max_tokens"), found.wrapped("fill_rate")
    default = RateLimitConfig()
    return RateLimitConfig(default.max_tokens if most is None else most, default.fill_rate if rate is None else rate)
