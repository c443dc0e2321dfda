"""From a path to the line where a person has to look."""

from __future__ import annotations

import pytest

from pyproxy.config import json_tree, yaml_tree
from pyproxy.config.invalid import Fault, Path, Place
from pyproxy.config.positions import Positions, Source

FILE = """\
node: {id: a}
static_resources:
  clusters:
  - name: a
    connectTimeout: 1s
  - name: b
    loadAssignment:
      endpoints: {lbEndpoints: {endpoint: {}}}
  listeners:
  - filter_chains:
    - filters:
      - name: f
        typed_config:
          "@type": type.googleapis.com/xds.type.v3.TypedStruct
          type_url: type.googleapis.com/x.Y
          value:
            stat_prefix: s
            route_config: {virtual_hosts: [{name: v}]}
"""
OVERLAY = "node: {cluster: c}\nstatic_resources: {clusters: [{name: c}]}\n"
CLUSTERS: Path = ("static_resources", "clusters")
TYPED: Path = ("static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config")


def source(text: str, file: str) -> Source:
    return Source(file, lambda: yaml_tree.compose(text, file)[0])


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), "f:1:1"),
        (("node", "id"), "f:1:8"),
        ((*CLUSTERS, 0), "f:4:5"),
        ((*CLUSTERS, 0, "connect_timeout"), "f:5:5"),
        ((*CLUSTERS, 1, "load_assignment", "endpoints", 0, "lb_endpoints", 0, "endpoint"), "f:8:33"),
        ((*CLUSTERS, 1, "connect_timeout"), "f:6:5"),
        ((*CLUSTERS, 7), "f:3:3"),
        ((*TYPED, "stat_prefix"), "f:17:13"),
        ((*TYPED, "route_config", "virtual_hosts", 0, "domains"), "f:18:44"),
    ],
)
def test_places(path: Path, place: str) -> None:
    assert str(Positions([source(FILE, "f")]).of(path)) == place


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("node", "id"), "f:1:8"),
        (("node", "cluster"), "o:1:8"),
        ((*CLUSTERS, 1, "name"), "f:6:5"),
        ((*CLUSTERS, 2, "name"), "o:2:32"),
    ],
)
def test_places_where_a_text_is_merged_over_a_file(path: Path, place: str) -> None:
    assert str(Positions([source(FILE, "f"), source(OVERLAY, "o")]).of(path)) == place


def test_lists_inside_lists_count_as_one() -> None:
    positions = Positions([source("a: [[x, y],\n z]", "f")])
    assert [str(positions.of(("a", index))) for index in range(3)] == ["f:1:6", "f:1:9", "f:2:2"]


def test_json_has_places_too() -> None:
    text = '{\n "node": {\n  "id": 5}}'
    positions = Positions([Source("f.json", lambda: json_tree.compose(text, "f.json"))])
    assert str(positions.of(("node", "id"))) == "f.json:3:3"


def test_a_format_without_places_names_the_file() -> None:
    positions = Positions([Source("f.pb")])
    assert positions.of(("node",)) == Place("f.pb")
    assert positions.render(Fault(("node", "id"), "is empty")) == "f.pb: node.id: is empty"


def test_a_fault_is_told_with_place_path_reason_and_hint() -> None:
    fault = Fault((*CLUSTERS, 0, "connect_timeout"), "does not take the text '5'", "a duration", "5s")
    assert Positions([source(FILE, "f")]).render(fault) == (
        "f:5:5: static_resources.clusters[0].connect_timeout: does not take the text '5'; expected a duration;"
        " did you mean '5s'?"
    )
