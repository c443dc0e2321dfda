"""Who peers say they are."""

from __future__ import annotations

import pytest

from pyproxy.config.istio_peer import Workload, decode_peer, encode_peer

NODE = {
    "NAME": "pod-1",
    "NAMESPACE": "shop",
    "WORKLOAD_NAME": "web-v1",
    "CLUSTER_ID": "east",
    "SECRET": "not told",
    "LABELS": {"app": "web", "version": "v1", "service.istio.io/canonical-name": "web", "team": "a", "secret": "x"},
}


def test_what_is_told_is_understood() -> None:
    told = encode_peer(NODE)
    assert decode_peer(told) == Workload("web-v1", "shop", "web", "", "web", "v1", "east", "pod-1")
    assert encode_peer(NODE) == told


def test_only_what_is_asked_for_is_told() -> None:
    few, more = encode_peer(NODE), encode_peer(NODE, ("team",))
    assert len(few) < len(more) < len(encode_peer(NODE, ("team", "secret")))


@pytest.mark.parametrize("value", [b"", b"!", b"AAAA", b"\xff", b"x" * 100_000, b"Zm9v"])
def test_what_cannot_be_read_is_nobody(value: bytes) -> None:
    assert decode_peer(value) in (None, Workload())


@pytest.mark.parametrize(
    ("metadata", "workload"),
    [
        (None, None),
        ({}, None),
        ({"istio": {"workload": "a;b"}}, None),
        ({"istio": {"workload": 3}}, None),
        ({"istio": {"workload": "n;ns;c;r;k"}}, Workload("n", "ns", "c", "r", cluster="k")),
    ],
)
def test_endpoints(metadata: dict[str, dict[str, str]] | None, workload: Workload | None) -> None:
    assert Workload.of_endpoint(metadata) == workload
