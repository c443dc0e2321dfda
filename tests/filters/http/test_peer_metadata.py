"""Peers that tell each other who they are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.istio_peer import HEADER, ID_HEADER, Workload, decode_peer, encode_peer
from pyproxy.filters.http import peer_metadata
from pyproxy.filters.http.peer_metadata import PeerMetadataConfig
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.istio_metrics import DOWNSTREAM_PEER, UPSTREAM_PEER
from tests.config.compiling import CONTEXT, unread, view
from tests.telemetry.exchanges import forwarded

METADATA = {"WORKLOAD_NAME": "us", "NAMESPACE": "ours"}
PEER = encode_peer({"WORKLOAD_NAME": "them", "NAMESPACE": "theirs"})


def runtime(cluster: Any = None) -> Any:
    clusters = {"up": cluster} if cluster else {}
    return SimpleNamespace(node=NodeConfig(id="node-1", metadata=METADATA), clusters=clusters)


def exchange(*, told: bool) -> tuple[Request, Response]:
    request, response = forwarded()
    request.info.filter_state = None
    if told:
        for headers in (request.headers, response.headers):
            headers.add(HEADER, PEER)
            headers.add(ID_HEADER, b"them")
    return request, response


async def pass_through(
    config: PeerMetadataConfig, request: Request, response: Response, cluster: Any = None
) -> bytes | None:
    """What the upstream is told."""
    seen: list[bytes | None] = []

    async def upstream(request: Request) -> Response:
        seen.append(request.headers.get(HEADER))
        return response

    assert await config.build(runtime(cluster))(request, upstream) is response
    return seen[0]


async def test_both_sides_are_read_and_told() -> None:
    request, response = exchange(told=True)
    config = PeerMetadataConfig(read_request=True, read_response=True, tell_downstream=True, tell_upstream=True)
    told = await pass_through(config, request, response)
    assert told is not None
    us = Workload("us", "ours")
    assert decode_peer(told) == us
    assert decode_peer(response.headers.get(HEADER) or b"") == us
    assert response.headers.get(ID_HEADER) == b"node-1"
    assert request.info.filter_state == {
        DOWNSTREAM_PEER: Workload("them", "theirs"),
        UPSTREAM_PEER: Workload("them", "theirs"),
    }


async def test_a_downstream_that_did_not_ask_is_not_told() -> None:
    request, response = exchange(told=False)
    await pass_through(PeerMetadataConfig(read_request=True, tell_downstream=True), request, response)
    assert HEADER not in response.headers
    assert request.info.filter_state is None


async def test_what_is_not_read_goes_through() -> None:
    request, response = exchange(told=True)
    assert await pass_through(PeerMetadataConfig(), request, response) == PEER
    assert response.headers.get(HEADER) == PEER


async def test_nonsense_is_taken_away_and_believed_of_nobody() -> None:
    request, response = exchange(told=False)
    request.headers.add(HEADER, b"!")
    assert await pass_through(PeerMetadataConfig(read_request=True), request, response) is None
    assert request.info.filter_state is None


@pytest.mark.parametrize("external", [True, False])
async def test_hosts_outside_are_not_told(external: bool) -> None:
    request, response = exchange(told=False)
    request.route = SimpleNamespace(answer=None, resolve=lambda request: SimpleNamespace(cluster="up"))
    metadata = {"istio": {"external": True}} if external else {}
    cluster = SimpleNamespace(config=SimpleNamespace(metadata=metadata))
    config = PeerMetadataConfig(tell_upstream=True, skip_external=True)
    assert (await pass_through(config, request, response, cluster) is None) == external


def test_compiles() -> None:
    seen = view(
        "io.istio.http.peer_metadata.Config",
        "{downstream_discovery: [{istio_headers: {}}, {workload_discovery: {}}], additional_labels: [team],"
        " upstream_propagation: [{istio_headers: {skip_external_clusters: true}}], shared_with_upstream: true}",
    )
    assert peer_metadata.compile(seen, CONTEXT) == PeerMetadataConfig(
        read_request=True, tell_upstream=True, skip_external=True, labels=("team",)
    )
    assert unread(seen) == ["workload_discovery"]
