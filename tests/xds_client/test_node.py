from __future__ import annotations

from types import MappingProxyType

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.xds_client.node import AgentConfig, node_message


def test_who_we_are() -> None:
    metadata = MappingProxyType({"LABELS": MappingProxyType({"app": "web"}), "PORTS": (1, 2), "ON": True})
    config = NodeConfig(id="i", cluster="c", zone="z", metadata=metadata)
    agent = AgentConfig(metadata=(("revision", "r"),), extensions=(("envoy.filters.http", "router", ("t.Router",)),))
    node = node_message(config, agent)
    assert (node.id, node.cluster, node.locality.zone, node.user_agent_name) == ("i", "c", "z", "envoy")
    assert node.metadata["LABELS"]["app"] == "web"
    assert list(node.metadata["PORTS"]) == [1, 2]
    version = node.user_agent_build_version.version
    assert (version.major_number, version.minor_number) == (1, 40)
    assert node.extensions[0].type_urls == ["t.Router"]


def test_nothing_known_is_nothing_said() -> None:
    node = node_message(NodeConfig(), AgentConfig())
    assert not node.HasField("locality")
    assert not node.HasField("metadata")
