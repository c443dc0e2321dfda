"""Reading a message marks what was read; what is left over is what is not honoured."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.descriptors import message_class
from pyproxy.config.invalid import InvalidConfig, Report
from pyproxy.config.load import load_message
from pyproxy.config.view import View

CLUSTER = """\
name: a
type: STRICT_DNS
lb_policy: RANDOM
connect_timeout: 1.5s
per_connection_buffer_limit_bytes: 5
alt_stat_name: b
load_assignment:
  cluster_name: a
  endpoints:
  - locality: {zone: z}
    lb_endpoints: [{}, {load_balancing_weight: 3}]
typed_extension_protocol_options:
  x: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {}}
transport_socket:
  name: t
  typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}
metadata: {filter_metadata: {m: {k: [1]}}}
"""


def view(text: str = CLUSTER, kind: str = "envoy.config.cluster.v3.Cluster") -> View:
    loaded = load_message(text, "c.yaml", kind)
    assert loaded.faults == []
    return View(loaded.message, ("clusters", 0), Report())


def test_readers() -> None:
    cluster = view()
    assert cluster.type_name == "envoy.config.cluster.v3.Cluster"
    assert (cluster.text("name"), cluster.enum("lb_policy"), cluster.oneof("cluster_discovery_type")) == (
        "a",
        "RANDOM",
        "type",
    )
    assert (cluster.seconds("connect_timeout"), cluster.seconds("cleanup_interval")) == (1.5, None)
    assert (cluster.wrapped("per_connection_buffer_limit_bytes"), cluster.wrapped("max_requests_per_connection")) == (
        5,
        None,
    )
    endpoints = cluster.need("load_assignment").children("endpoints")
    assert [one.path for one in endpoints[0].children("lb_endpoints")] == [
        ("clusters", 0, "load_assignment", "endpoints", 0, "lb_endpoints", index) for index in (0, 1)
    ]
    (options,) = cluster.entries("typed_extension_protocol_options").values()
    assert options.unwrap().type_name.endswith("HttpProtocolOptions")
    socket = cluster.need("transport_socket").any("typed_config")
    assert socket is not None
    assert socket.path == ("clusters", 0, "transport_socket", "typed_config")
    metadata = cluster.need("metadata").entries("filter_metadata")["m"]
    assert metadata.path == ("clusters", 0, "metadata", "filter_metadata", "m")
    assert cluster.child("outlier_detection") is None


def test_what_was_set_and_not_read_is_left_over() -> None:
    cluster = view()
    cluster.ignore("alt_stat_name", "metadata", "typed_extension_protocol_options", "transport_socket", "name", "type")
    cluster.enum("lb_policy")
    for locality in cluster.need("load_assignment").children("endpoints"):
        for endpoint in locality.children("lb_endpoints"):
            endpoint.text("health_status")
    assert [(path[2:], field.removeprefix("envoy.config.")) for path, field in cluster.unread()] == [
        (("connect_timeout",), "cluster.v3.Cluster.connect_timeout"),
        (("per_connection_buffer_limit_bytes",), "cluster.v3.Cluster.per_connection_buffer_limit_bytes"),
        (("load_assignment", "cluster_name"), "endpoint.v3.ClusterLoadAssignment.cluster_name"),
        (("load_assignment", "endpoints", 0, "locality"), "endpoint.v3.LocalityLbEndpoints.locality"),
        (
            ("load_assignment", "endpoints", 0, "lb_endpoints", 1, "load_balancing_weight"),
            "endpoint.v3.LbEndpoint.load_balancing_weight",
        ),
    ]


def test_a_message_that_is_kept_whole_is_honoured() -> None:
    cluster = view()
    cluster.honour_all()
    assert cluster.unread() == []


def test_a_message_that_must_be_there() -> None:
    with pytest.raises(InvalidConfig, match=r"^clusters\[0\]\.outlier_detection: is required$"):
        view().need("outlier_detection")


def test_an_unknown_name_comes_with_the_nearest_one() -> None:
    with pytest.raises(InvalidConfig, match=r"unknown colour 'redd'; expected one of blue, red; did you mean 'red'\?"):
        view().fail_unknown("name", "colour", "redd", ["red", "blue"])


def test_each_keeps_the_faults_of_all_elements() -> None:
    def compile_one(element: View) -> Any:
        if not element.has("load_balancing_weight"):
            element.fail("load_balancing_weight", "is missing")
        return element.wrapped("load_balancing_weight")

    (locality,) = view().need("load_assignment").children("endpoints")
    assert locality.each("lb_endpoints", compile_one) == (3,)
    assert [fault.path[-2:] for fault in locality.report.faults] == [(0, "load_balancing_weight")]


def test_an_any_that_cannot_be_opened_is_a_fault_at_its_place() -> None:
    message: Any = message_class("envoy.config.core.v3.TransportSocket")()
    message.typed_config.type_url = "type.googleapis.com/foo.Bar"
    with pytest.raises(InvalidConfig, match=r"^x\.typed_config: unknown type"):
        View(message, ("x",), Report()).any("typed_config")


def test_two_readers_may_share_a_message() -> None:
    cluster = view()
    cluster.honour_all()
    for field in ("cluster_name", "endpoints"):
        cluster.need("load_assignment").scalar(field)
    assert cluster.unread() == []
    first, second = (cluster.need("transport_socket").any("typed_config") for _ in range(2))
    assert first is second
