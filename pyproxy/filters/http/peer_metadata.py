"""istio.metadata_exchange: proxies of a mesh tell each other who they are, in headers that nobody else sees.

Envoy (Istio): io.istio.http.peer_metadata.Config. Security posture: what a peer says of itself is believed for labels
of statistics and for nothing else. Discovery by workload metadata over xDS is not done: it finds nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pyproxy.config.extensions import CompileContext
from pyproxy.config.istio_peer import HEADER, ID_HEADER, decode_peer, encode_peer
from pyproxy.config.view import View
from pyproxy.http.message import Headers, Request, Response
from pyproxy.runtime import Runtime
from pyproxy.telemetry.istio_metrics import DOWNSTREAM_PEER, UPSTREAM_PEER

Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class PeerMetadataConfig:
    """`read_request`: the downstream may tell who it is; `tell_upstream`: we tell whom we send to. And back."""

    read_request: bool = False
    read_response: bool = False
    tell_downstream: bool = False
    tell_upstream: bool = False
    skip_external: bool = False
    """Hosts outside of the mesh are not told."""
    labels: tuple[str, ...] = ()

    def build(self, runtime: Runtime) -> PeerMetadata:
        return PeerMetadata(self, runtime)


def compile(view: View, context: CompileContext) -> PeerMetadataConfig:  # noqa: A001 (the name that every filter has)
    """A `Config`."""
    del context
    view.ignore("shared_with_upstream")  # there are no internal listeners to share it with
    telling = _methods(view, "upstream_propagation")
    return PeerMetadataConfig(
        read_request=bool(_methods(view, "downstream_discovery")),
        read_response=bool(_methods(view, "upstream_discovery")),
        tell_downstream=bool(_methods(view, "downstream_propagation")),
        tell_upstream=bool(telling),
        skip_external=any(bool(one.scalar("skip_external_clusters")) for one in telling),
        labels=tuple(str(label) for label in view.scalars("additional_labels")),
    )


def _methods(view: View, field: str) -> list[View]:
    """Those of the methods that are headers; the others are left unread, so they are listed as not honoured."""
    found = [one.child("istio_headers") for one in view.children(field)]
    for one in found:
        if one is not None and field != "upstream_propagation":
            one.ignore("skip_external_clusters")
    return [one for one in found if one is not None]


class PeerMetadata:
    """Shared by all requests of a chain."""

    def __init__(self, config: PeerMetadataConfig, runtime: Runtime) -> None:
        self._config = config
        self._clusters = runtime.clusters
        self._own = encode_peer(runtime.node.metadata, config.labels)
        self._id = runtime.node.id.encode()

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002 (the name that every filter has)
        config = self._config
        asked = _take(request, request.headers, DOWNSTREAM_PEER) if config.read_request else False
        if config.tell_upstream and not (config.skip_external and self._is_external(request)):
            self._tell(request.headers)
        response = await next(request)
        if config.read_response:
            _take(request, response.headers, UPSTREAM_PEER)
        if config.tell_downstream and asked:
            self._tell(response.headers)
        return response

    def _tell(self, headers: Headers) -> None:
        headers.set(HEADER, self._own)
        headers.set(ID_HEADER, self._id)

    def _is_external(self, request: Request) -> bool:
        route = request.route
        cluster = None if route is None or route.answer else self._clusters.get(route.resolve(request).cluster)
        istio = None if cluster is None else cluster.config.metadata.get("istio")
        return bool(istio and istio.get("external"))


def _take(request: Request, headers: Headers, key: str) -> bool:
    """Read the headers and take them away. Whether they were there."""
    value = headers.index.get(HEADER)
    if value is None:
        return False
    headers.remove(HEADER)
    headers.remove(ID_HEADER)
    peer = decode_peer(value)
    if peer is not None:
        info = request.info
        if info.filter_state is None:
            info.filter_state = {}
        info.filter_state[key] = peer
    return True
