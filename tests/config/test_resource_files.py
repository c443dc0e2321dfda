from __future__ import annotations

from pathlib import Path

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.resource_files import Found, NotPlain, filled, messages_in, read_plain

URL = "type.googleapis.com/"
CLUSTER = "envoy.config.cluster.v3.Cluster"
ROUTES = "envoy.config.route.v3.RouteConfiguration"
NAMED = {"@type": URL + CLUSTER, "name": "a"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"static_resources": {}}, ["envoy.config.bootstrap.v3.Bootstrap"]),
        ({"node": {"id": "x"}, "typo": 1}, []),
        ({"versionInfo": "1", "resources": [NAMED, {"name": "x", "resource": NAMED}]}, [CLUSTER, CLUSTER]),
        # A config dump and what it holds.
        (
            {
                "configs": [
                    {
                        "@type": f"{URL}envoy.admin.v3.ClustersConfigDump",
                        "dynamic_active_clusters": [{"cluster": NAMED}],
                    }
                ]
            },
            [CLUSTER],
        ),
        # Without a type, and with parts that have one.
        ([{"name": "a", "connectTimeout": "1s"}, {"name": "b", "load_assignment": {}}], [CLUSTER, CLUSTER]),
        ({"name": "l", "filter_chains": [{"filters": [NAMED]}]}, ["envoy.config.listener.v3.Listener"]),
        ({"virtual_hosts": []}, [ROUTES]),
        ({"cluster_name": "a"}, ["envoy.config.endpoint.v3.ClusterLoadAssignment"]),
        ({"name": "s", "tls_certificate": {}}, ["envoy.extensions.transport_sockets.tls.v3.Secret"]),
        ({"name": "f", "typed_config": NAMED}, [CLUSTER]),
        ({"apiVersion": "v1", "kind": "Pod"}, []),
        ("text", []),
        (None, []),
    ],
)
def test_what_a_file_holds(value: object, expected: list[str]) -> None:
    assert [one.type_name for one in messages_in(value)] == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.yaml", "a: [1]"), ("a.json", '{"a": [1]}'), ("a.golden", '{"a": [1]}'), ("b.golden", "a: [1]")],
)
def test_files_are_yaml_or_json(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_plain(tmp_path / name) == {"a": [1]}


@pytest.mark.parametrize(("text", "said"), [("a: {{ .Port }}", "a template"), ("a: [", "not YAML")])
def test_what_is_neither_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(NotPlain, match=said):
        read_plain(tmp_path / "a.yaml")


def test_messages_are_made_of_them() -> None:
    message = filled(Found(CLUSTER, {"name": "a"}))
    assert message.DESCRIPTOR.full_name == CLUSTER
    struct = {"type_url": URL + CLUSTER, "value": {"name": "inner"}}
    inner = filled(Found("xds.type.v3.TypedStruct", struct))
    assert inner.DESCRIPTOR.full_name == CLUSTER
    for bad in (Found(CLUSTER, {"nam": "a"}), Found("envoy.Nothing", {})):
        with pytest.raises(InvalidConfig):
            filled(bad)
