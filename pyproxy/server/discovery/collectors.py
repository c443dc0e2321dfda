"""Clusters as the manager needs them for what it sends itself (traces, logs, metrics): with all that they have now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from pyproxy.config.cluster import ClusterConfig
from pyproxy.config.config_source import slot_of
from pyproxy.config.resources import ResourceCompiler, ResourceType
from pyproxy.config.tls import UpstreamTlsConfig
from pyproxy.config.tls_reload import reload_tls
from pyproxy.filters.builtin import EXTENSIONS
from pyproxy.server.discovery.store import ResourceStore

_COMPILER = ResourceCompiler(EXTENSIONS, allow_unknown=True)
"""What is in force has been looked at before."""
_NO_SECRETS: Final[Mapping[str, bytes]] = MappingProxyType({})


def cluster_in_force(
    store: ResourceStore, name: str, secrets: Mapping[str, bytes] = _NO_SECRETS
) -> ClusterConfig | None:
    """One that a control plane told of. `secrets` are those of the bootstrap."""
    held = store.get(ResourceType.CLUSTER, name)
    if held is None:
        return None
    compiler = ResourceCompiler(EXTENSIONS, allow_unknown=True, secrets=secrets) if secrets else _COMPILER
    return filled(store, compiler.cluster(held.body))


def filled(store: ResourceStore, cluster: ClusterConfig) -> ClusterConfig:
    """With the hosts and certificates that came for it. Raises InvalidConfig where certificates do not fit."""
    if cluster.eds is not None:
        hosts = store.get(ResourceType.ENDPOINTS, slot_of(cluster.eds.source, cluster.eds.service_name))
        if hosts is not None:
            cluster = replace(cluster, endpoints=_COMPILER.endpoints(hosts.body).endpoints)
    tls = cluster.tls
    if tls is not None and tls.source is not None and tls.source.secrets:
        secrets = {slot: one.body for slot, one in store.of(ResourceType.SECRET).items()}
        made = reload_tls(tls.source, secrets)
        assert isinstance(made, UpstreamTlsConfig)
        cluster = replace(cluster, tls=replace(made, source=None))
    return cluster
