"""The two places that a proxy learns from in these tests: files, and a control plane (SotW and delta)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from tests.server.bootstraps import Json, at, endpoint
from tests.support.ports import LOOPBACK
from tests.support.snapshot_server import SnapshotServer, message_of

URL = "type.googleapis.com/"
CLUSTER = f"{URL}envoy.config.cluster.v3.Cluster"
ENDPOINTS = f"{URL}envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = f"{URL}envoy.config.listener.v3.Listener"
ROUTES = f"{URL}envoy.config.route.v3.RouteConfiguration"
RUNTIME = f"{URL}envoy.service.runtime.v3.Runtime"
SECRET = f"{URL}envoy.extensions.transport_sockets.tls.v3.Secret"
HCM = f"{URL}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{URL}envoy.extensions.filters.http.router.v3.Router"


class World(Protocol):
    """Where resources come from."""

    def put(self, type_url: str, *resources: Json) -> None:
        """All there are of a type, from now on."""

    def source(self, type_url: str) -> Json:
        """The ConfigSource for a type."""

    def bootstrap(self, *listeners: Json, clusters: tuple[Json, ...] = ()) -> Json: ...

    def close(self) -> None: ...


class Files:
    """Each type in a file of its own, which is moved over the old one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.version = 0
        for url in (CLUSTER, LISTENER, ENDPOINTS, ROUTES):
            self.put(url)

    def path(self, type_url: str) -> Path:
        return self.directory / f"{type_url.rpartition('.')[2]}.json"

    def put(self, type_url: str, *resources: Json) -> None:
        self.version += 1
        new = self.directory / "new"
        typed = [{"@type": type_url, **one} for one in resources]
        new.write_text(json.dumps({"version_info": str(self.version), "resources": typed}))
        new.rename(self.path(type_url))

    def source(self, type_url: str) -> Json:
        return {"path_config_source": {"path": str(self.path(type_url))}, "resource_api_version": "V3"}

    def bootstrap(self, *listeners: Json, clusters: tuple[Json, ...] = ()) -> Json:
        return {
            "node": {"id": "test", "cluster": "tests"},
            "admin": {"address": at(0)},
            "dynamic_resources": {"lds_config": self.source(LISTENER), "cds_config": self.source(CLUSTER)},
            "static_resources": {"listeners": list(listeners), "clusters": list(clusters)},
        }

    def close(self) -> None:
        pass


class Ads:
    """One aggregated stream."""

    def __init__(self, api_type: str) -> None:
        self.server = SnapshotServer().__enter__()
        self._api_type = api_type
        for url in (CLUSTER, LISTENER):
            self.put(url)

    def put(self, type_url: str, *resources: Json) -> None:
        messages = {_name(one): message_of({"@type": type_url, **one}) for one in resources}
        self.server.put(type_url, messages)

    def source(self, type_url: str) -> Json:
        return {"ads": {}, "resource_api_version": "V3"}

    def bootstrap(self, *listeners: Json, clusters: tuple[Json, ...] = ()) -> Json:
        service = {"envoy_grpc": {"cluster_name": "xds"}}
        assignment = {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint(self.server.port)]}]}
        plane: Json = {
            "name": "xds",
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": assignment,
        }
        return {
            "node": {"id": "test", "cluster": "tests"},
            "admin": {"address": at(0)},
            "dynamic_resources": {
                "lds_config": self.source(LISTENER),
                "cds_config": self.source(CLUSTER),
                "ads_config": {
                    "api_type": self._api_type,
                    "transport_api_version": "V3",
                    "grpc_services": [service],
                },
            },
            "static_resources": {"listeners": list(listeners), "clusters": [plane, *clusters]},
        }

    def close(self) -> None:
        self.server.__exit__(None, None, None)


def _name(resource: Json) -> str:
    return str(resource.get("name") or resource["cluster_name"])


def eds_cluster(world: World, name: str, **more: Any) -> Json:
    return {
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": world.source(ENDPOINTS)},
        **more,
    }


def assignment(name: str, *ports: int, **more: Any) -> Json:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint(port) for port in ports]}], **more}


def routes(name: str, *found: Json) -> Json:
    return {"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": list(found)}]}


def to_cluster(cluster: str, prefix: str = "/") -> Json:
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster}}


def answer(status: int, body: str = "x", prefix: str = "/") -> Json:
    return {"match": {"prefix": prefix}, "direct_response": {"status": status, "body": {"inline_string": body}}}


def rds_manager(world: World, stat_prefix: str, routes_name: str, **more: Any) -> Json:
    config = {
        "@type": HCM,
        "stat_prefix": stat_prefix,
        "rds": {"config_source": world.source(ROUTES), "route_config_name": routes_name},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
        **more,
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def host_cluster(name: str, port: int, **more: Any) -> Json:
    """A cluster with its hosts."""
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment(name, port), **more}


def web(port: int, *chains: Json, name: str = "web", **more: Any) -> Json:
    return {"name": name, "address": at(port, LOOPBACK), "filter_chains": list(chains), **more}


def chain(network_filter: Json, **more: Any) -> Json:
    return {"filters": [network_filter], **more}
