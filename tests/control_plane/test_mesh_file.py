from __future__ import annotations

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.control_plane.mesh import (
    Breakers,
    Gateway,
    GatewayRoute,
    HostPort,
    Instance,
    Mesh,
    Outliers,
    Retries,
    Service,
    Telemetry,
)
from pyproxy.control_plane.mesh_file import read_mesh

WHOLE = """
mtls: true
trust_domain: example.org
certificate_days: 2
telemetry: {access_log: stdout, traces: 127.0.0.1:4318, sampling: 10}
services:
  front:
    calls: {back: 127.0.0.1:15010}
    instances: [127.0.0.1:9000]
  back:
    allow: [front]
    timeout: 2s
    weights: {v1: 90, v2: 10}
    retries: {attempts: 2, on: 5xx, per_try_timeout: 250ms}
    breakers: {requests: 5}
    outliers: {consecutive_5xx: 3}
    instances:
    - {version: v1, app: 127.0.0.1:9001, proxy: 127.0.0.1:15001}
    - {version: v2, app: "[::1]:9002"}
    - {version: v1, app: 127.0.0.1:9003, proxy: 127.0.0.1:15003, node: back-3, calls: {front: 127.0.0.1:15011}}
gateways:
  edge:
    listen: 0.0.0.0:8080
    routes: [{service: front}, {host: api.example, prefix: /v2, service: back}]
"""


def faults(text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        read_mesh(text, "mesh.yaml")
    return [f"{one.place}: {one}" for one in caught.value.faults]


def test_everything_there_is() -> None:
    at = HostPort
    front = Service("front", (Instance("v1", at("127.0.0.1", 9000)),), calls={"back": at("127.0.0.1", 15010)})
    instances = (
        Instance("v1", at("127.0.0.1", 9001), at("127.0.0.1", 15001)),
        Instance("v2", at("::1", 9002)),
        Instance("v1", at("127.0.0.1", 9003), at("127.0.0.1", 15003), "back-3", {"front": at("127.0.0.1", 15011)}),
    )
    back = Service(
        "back",
        instances,
        weights={"v1": 90, "v2": 10},
        allow=("front",),
        timeout=2.0,
        retries=Retries(2, "5xx", 0.25),
        breakers=Breakers(requests=5),
        outliers=Outliers(consecutive_5xx=3),
    )
    routes = (GatewayRoute("front"), GatewayRoute("back", "api.example", "/v2"))
    edge = Gateway("edge", at("0.0.0.0", 8080), routes)
    telemetry = Telemetry("stdout", at("127.0.0.1", 4318), 10)
    expected = Mesh({"front": front, "back": back}, {"edge": edge}, True, "example.org", 2, telemetry)
    assert read_mesh(WHOLE, "mesh.yaml") == expected


def test_nearly_nothing() -> None:
    assert read_mesh("services: {a: }", "m").services == {"a": Service("a")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mtl: true", "m.yaml:1:1: mtl: unknown field 'mtl'"),
        ("services:\n  a: {timeot: 1s}", "did you mean 'timeout'"),
        ("services:\n  a:\n    timeout: 1", "mesh.yaml:3:5: services.a.timeout: 1 is no time"),
        ("services: {a: {calls: {b: 127.0.0.1:1}}}", "unknown service 'b'"),
        (
            "services: {a: {instances: [{app: h:1, calls: {b: h:2}}]}}",
            "services.a.instances[0].calls.b: unknown service",
        ),
        ("telemetry: {sampling: 101}", "101 is no percentage"),
        ("telemetry: {traces: collector}", "'collector' is no address"),
        ("services: {aa: {allow: [ab]}}", "did you mean 'aa'"),
        ("services: {a: {instances: [9000]}}", "9000 is no address"),
        ("services: {a: {instances: [{version: v1}]}}", "has no app"),
        ("services: {a: {instances: [h:1], weights: {v2: 1}}}", "unknown version 'v2'"),
        ("services: {a: {instances: [h:1], weights: {v1: 0}}}", "add up to nothing"),
        ("services: {A b: }", "'A b' is no name"),
        ("services: []", "is no mapping"),
        ("gateways: {g: {routes: [{service: x}]}}", "has no listen"),
        ("gateways: {g: {listen: h:1, routes: [{service: x, prefix: z}]}}", "'z' is no path"),
        ("services: {g: }\ngateways: {g: {listen: h:1}}", "has the name of a service"),
        ("", "is empty"),
        ("services: {a: {}, a: {}}", "services.a"),
        ("services: {", "not YAML"),
    ],
)
def test_faults_say_where_and_what(text: str, said: str) -> None:
    assert any(said.replace("m.yaml", "mesh.yaml") in one for one in faults(text))


def test_all_faults_are_told() -> None:
    assert len(faults("mtls: 1\ntrust_domain: ' '\nservices: {a: {timeout: x, retries: {attempts: -1}}}")) == 4
