"""The file that the documentation shows is one that can be used."""

from __future__ import annotations

import re

from pyproxy.config.load import load_message
from pyproxy.control_plane.mesh_file import read_mesh
from tests.support.process import ROOT

EXAMPLES = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "control-plane.md").read_text(), re.DOTALL)


def test_the_mesh() -> None:
    mesh = read_mesh(EXAMPLES[0], "mesh.yaml")
    assert list(mesh.services) == ["front", "back"]
    assert mesh.mtls


def test_a_proxy_of_it() -> None:
    assert load_message(EXAMPLES[1], "proxy.yaml", "envoy.config.bootstrap.v3.Bootstrap").faults == []
