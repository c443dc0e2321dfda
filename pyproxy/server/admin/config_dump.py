"""`/config_dump`: the configuration that is in force, as Envoy shows it (envoy.admin.v3.ConfigDump)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

from pyproxy.config import any_message, descriptors
from pyproxy.server.admin.clusters import endpoint_config
from pyproxy.server.admin.dynamic_dump import InForce, moment, typed
from pyproxy.server.admin.endpoint import PLAIN, Endpoint, Parameter, Question, Reply, as_json, bad_request
from pyproxy.server.admin.field_mask import UnusableMask, keep
from pyproxy.server.admin.redact import as_dict
from pyproxy.server.proxy import Proxy

Data = dict[str, Any]
Wanted = Callable[[str], bool]

_URL = "type.googleapis.com/"
_ADMIN = f"{_URL}envoy.admin.v3."
_CONNECTION_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


async def show_config(question: Question) -> Reply:
    """`resource` picks one list, `mask` some fields, `name_regex` resources by their whole name."""
    query = question.query
    try:
        names = re.compile(query.get("name_regex", ""))
    except re.error as error:
        return bad_request(f"Error while parsing name_regex from {query['name_regex']}: {error}", PLAIN)
    wanted: Wanted = (lambda name: bool(names.fullmatch(name))) if query.get("name_regex") else (lambda name: True)
    endpoints = await _endpoints(question.proxy, wanted) if question.flag("include_eds") else None
    # In a thread: thousands of clusters take seconds, and a probe must not wait for that.
    dynamic = InForce.of(question.proxy.discovery, wanted)
    return await asyncio.to_thread(_show, question, wanted, dynamic, endpoints)


def _show(question: Question, wanted: Wanted, dynamic: InForce, endpoints: Data | None) -> Reply:
    query = question.query
    dumps = _dumps(question.proxy, wanted, dynamic)
    if endpoints is not None:
        dumps.insert(2, endpoints)
    if query.get("resource"):
        return _resource(dumps, query["resource"], query.get("mask", ""))
    if query.get("mask"):
        return _masked(dumps, query["mask"])
    return as_json({"configs": dumps})


def _resource(dumps: list[Data], name: str, mask: str) -> Reply:
    """The elements of one repeated field of one dump."""
    for dump in dumps:
        descriptor: Any = descriptors.class_of_url(dump["@type"]).DESCRIPTOR
        field = descriptor.fields_by_name.get(name)
        if field is None:
            continue
        if not field.is_repeated:
            return bad_request(f"{name} is not a repeated field. Use ?mask={name} to get only this field", PLAIN)
        url = f"{_URL}{field.message_type.full_name}"
        elements = [{"@type": url, **element} for element in dump.get(name, [])]
        try:
            shown = [keep(element, mask) for element in elements] if mask else elements
        except UnusableMask:
            return bad_request(f'FieldMask paths: "{mask}"\n could not be successfully used.', PLAIN)
        return as_json({"configs": shown} if shown else {})
    return Reply(f"{name} not found in config dump", PLAIN, 404)


def _masked(dumps: list[Data], mask: str) -> Reply:
    kept = []
    for dump in dumps:
        try:
            kept.append(keep(dump, mask))
        except UnusableMask:
            continue
    if not kept:
        return bad_request(f"FieldMask {mask} could not be successfully applied to any configs.", PLAIN)
    return as_json({"configs": kept})


def _dumps(proxy: Proxy, wanted: Wanted, dynamic: InForce) -> list[Data]:
    """All dumps in Envoy's order. Routes are there when a listener has some."""
    message = proxy.blueprint.message
    loaded = moment(proxy.blueprint.started_wall)
    listeners = list(message.static_resources.listeners)
    managers = [manager for listener in listeners for manager in _connection_managers(listener)]
    routes = [manager.route_config for manager in managers if manager.HasField("route_config")]
    clusters = sorted(message.static_resources.clusters, key=lambda cluster: str(cluster.name))
    secrets = [
        {"name": secret.name, "last_updated": loaded, "secret": typed(secret)}
        for secret in message.static_resources.secrets
        if wanted(secret.name)
    ]
    dumps = [
        {"@type": f"{_ADMIN}BootstrapConfigDump", "bootstrap": as_dict(message), "last_updated": loaded},
        {
            **_dump("ClustersConfigDump", "static_clusters", _resources("cluster", clusters, wanted, loaded)),
            **dynamic.clusters(),
        },
        *([{"@type": f"{_ADMIN}EcdsConfigDump", **dynamic.extensions()}] if dynamic.extensions() else []),
        {
            **_dump("ListenersConfigDump", "static_listeners", _resources("listener", listeners, wanted, loaded)),
            **dynamic.listeners(),
        },
        {**_dump("ScopedRoutesConfigDump", "", []), **dynamic.scopes()},
        {
            **_dump("RoutesConfigDump", "static_route_configs", _resources("route_config", routes, wanted, loaded)),
            **dynamic.routes(),
        },
        {**_dump("SecretsConfigDump", "static_secrets", secrets), **dynamic.secrets()},
    ]
    return dumps if managers or dynamic.has_routes else [dump for dump in dumps if "Routes" not in dump["@type"]]


def _dump(name: str, field: str, elements: list[Data]) -> Data:
    return {"@type": f"{_ADMIN}{name}", **({field: elements} if elements else {})}


def _resources(field: str, messages: Iterable[Any], wanted: Wanted, loaded: str) -> list[Data]:
    return [{field: typed(message), "last_updated": loaded} for message in messages if wanted(message.name)]


def _connection_managers(listener: Any) -> Iterable[Any]:
    chains = [*listener.filter_chains]
    if listener.HasField("default_filter_chain"):
        chains.append(listener.default_filter_chain)
    for chain in chains:
        for network_filter in chain.filters:
            if network_filter.typed_config.type_url.endswith(f"/{_CONNECTION_MANAGER}"):
                yield any_message.unpack(network_filter.typed_config)


async def _endpoints(proxy: Proxy, wanted: Wanted) -> Data:
    """EndpointsConfigDump: the hosts that discovery has found."""
    clusters = [cluster for cluster in await proxy.clusters() if wanted(cluster["name"])]
    static = [{"endpoint_config": endpoint_config(one)} for one in clusters if not one["added_via_api"]]
    later = [{"endpoint_config": endpoint_config(one)} for one in clusters if one["added_via_api"]]
    dump = _dump("EndpointsConfigDump", "static_endpoint_configs", static)
    return {**dump, **({"dynamic_endpoint_configs": later} if later else {})}


ENDPOINTS = (
    Endpoint(
        "/config_dump",
        "dump current configs",
        show_config,
        (
            Parameter("resource", "The resource to dump, such as static_clusters"),
            Parameter("mask", "The fields to show, as a google.protobuf.FieldMask; with resource, of each element"),
            Parameter("name_regex", "Only resources whose whole name matches"),
            Parameter("include_eds", "Also show the endpoints"),
        ),
    ),
)
