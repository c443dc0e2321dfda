"""Who we are, as the message that control planes get (envoy.config.core.v3.Node)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.descriptors import message_class

_FEATURES: Final = ("envoy.lb.does_not_support_overprovisioning", "envoy.lrs.supports_send_all_clusters")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What the proxy is; control planes decide by `version` what they send. `extensions`: (category, name, types)."""

    name: str = "envoy"
    version: str = "1.40.0"
    metadata: tuple[tuple[str, str], ...] = ()
    extensions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()


def node_message(node: NodeConfig, agent: AgentConfig) -> Any:
    """The `Node` of every request."""
    made: Any = message_class("envoy.config.core.v3.Node")(
        id=node.id, cluster=node.cluster, user_agent_name=agent.name, client_features=_FEATURES
    )
    for name, value in (("region", node.region), ("zone", node.zone), ("sub_zone", node.sub_zone)):
        if value:
            setattr(made.locality, name, value)
    if node.metadata:
        made.metadata.update(_plain(node.metadata))
    build = made.user_agent_build_version
    build.version.major_number, build.version.minor_number, build.version.patch = _numbers(agent.version.split("."))
    for name, value in agent.metadata:
        build.metadata[name] = value
    for category, name, types in agent.extensions:
        made.extensions.add(name=name, category=category, type_urls=types)
    return made


def _numbers(parts: Iterable[str]) -> tuple[int, int, int]:
    major, minor, patch = (int(part) for part in parts)
    return major, minor, patch


def _plain(value: Any) -> Any:
    """Mappings and sequences as protobuf's structs take them."""
    if hasattr(value, "items"):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value
