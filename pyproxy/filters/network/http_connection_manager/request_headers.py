"""What the connection manager does to a request before it is routed: sanitise, normalise, say where it came from.

Envoy: ConnectionManagerUtility::mutateRequestHeaders and "HTTP header sanitizing". Security posture: the
downstream is not trusted; what says who it is gets removed or written here.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.filters.network.http_connection_manager.client_cert import XFCC, ClientCertForwarding
from pyproxy.filters.network.http_connection_manager.config import (
    EscapedSlashes,
    HttpConnectionManagerConfig,
    Underscores,
)
from pyproxy.http import path as paths
from pyproxy.http.fast import has_any, is_odd
from pyproxy.http.inline_headers import INLINE_REQUEST, join_repeated
from pyproxy.http.message import Headers, Pair, Request
from pyproxy.http.request_id import RequestIds
from pyproxy.network.local_address import first_address
from pyproxy.telemetry.sampling import Reason, mark

# RFC 9110 7.6.1: for this connection only.
_HOP_BY_HOP: Final = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
_OF_UPGRADES: Final = frozenset((b"connection", b"upgrade"))
"""An upgrade that is asked for keeps them: whether it is allowed is seen when it is routed."""

# What only an internal client may say (Envoy: cleanInternalHeaders).
_INTERNAL_ONLY: Final = frozenset(
    (
        b"x-envoy-retriable-status-codes",
        b"x-envoy-retriable-header-names",
        b"x-envoy-retry-on",
        b"x-envoy-retry-grpc-on",
        b"x-envoy-max-retries",
        b"x-envoy-upstream-alt-stat-name",
        b"x-envoy-upstream-rq-timeout-ms",
        b"x-envoy-upstream-rq-per-try-timeout-ms",
        b"x-envoy-upstream-rq-timeout-alt-response",
        b"x-envoy-expected-rq-timeout-ms",
        b"x-envoy-force-trace",
        b"x-envoy-ip-tags",
        b"x-envoy-original-url",
        b"x-envoy-hedge-on-per-try-timeout",
        b"x-envoy-internal",
    )
)
_EDGE_ONLY: Final = (
    b"x-envoy-decorator-operation",
    b"x-envoy-downstream-service-cluster",
    b"x-envoy-downstream-service-node",
    b"x-envoy-original-host",
    b"x-envoy-original-path",
)
_XFF: Final = b"x-forwarded-for"
_XFP: Final = b"x-forwarded-proto"
_XFPORT: Final = b"x-forwarded-port"
_XFP_HTTP: Final = (_XFP, b"http")
_XFP_HTTPS: Final = (_XFP, b"https")
_REQUEST_ID: Final = b"x-request-id"
_TE: Final = b"te"
_SPECIAL: Final = frozenset(
    (*_HOP_BY_HOP, *_INTERNAL_ONLY, *_EDGE_ONLY, _XFF, XFCC, b"te", b"expect", b"x-envoy-external-address")
)
_PROTECTED: Final = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", XFCC, b"x-request-id"))


_MOST_PEERS: Final = 4096


class _Peer:
    """What a request through the edge says of the address that it came from, ready to be appended."""

    __slots__ = ("forwarded_for", "internal", "verdict")

    def __init__(self, host: str, internal: bool) -> None:
        own = first_address() if _is_loopback(host) else host
        self.internal = internal
        self.forwarded_for: Pair = (_XFF, own.encode())
        self.verdict: Pair = (
            (b"x-envoy-internal", b"true") if internal else (b"x-envoy-external-address", host.encode())
        )


class RequestPreparation:
    """Prepares requests as one connection manager is configured to. Shared by all its requests."""

    __slots__ = (
        "_agent",
        "_any_path_option",
        "_client_cert",
        "_config",
        "_edge",
        "_generate_id",
        "_host_options",
        "_ids",
        "_internal",
        "_internal_only",
        "_node",
        "_peers",
        "_plain",
        "_scheme",
        "_special",
        "_special_but_te",
        "_underscores",
        "_via",
    )

    def __init__(self, config: HttpConnectionManagerConfig, ids: RequestIds, node: NodeConfig) -> None:
        paths_config, forwarding = config.paths, config.forwarding
        self._config = config
        self._ids = ids
        self._generate_id = config.request_id.generate
        self._edge = forwarding.use_remote_address
        self._internal = tuple(ipaddress.ip_network(cidr, strict=False) for cidr in forwarding.internal_cidrs)
        self._internal_only = _INTERNAL_ONLY
        self._special = _SPECIAL
        self._special_but_te = _SPECIAL - {_TE}
        if config.route_table is not None:
            self.take_internal_only(config.route_table.internal_only_headers)
        self._agent = node.cluster.encode() if config.add_user_agent else None
        self._node = node.id.encode()
        self._any_path_option = (
            paths_config.normalize
            or paths_config.merge_slashes
            or paths_config.escaped_slashes is not EscapedSlashes.KEEP_UNCHANGED
        )
        self._host_options = (
            paths_config.strip_any_host_port
            or paths_config.strip_matching_host_port
            or paths_config.strip_trailing_host_dot
        )
        self._underscores = config.underscores is not Underscores.ALLOW
        self._peers: dict[str, _Peer] = {}
        self._client_cert = ClientCertForwarding(forwarding)
        self._via = forwarding.via
        self._scheme = forwarding.scheme_overwrite
        self._plain = not (
            self._host_options
            or self._underscores
            or self._via
            or self._scheme
            or forwarding.skip_xff_append
            or forwarding.xff_num_trusted_hops
            or config.add_user_agent
            or forwarding.append_x_forwarded_port
        )

    def take_internal_only(self, names: tuple[bytes, ...]) -> None:
        """Headers that only requests from inside may carry, beside Envoy's own: the routes say which."""
        self._internal_only = _INTERNAL_ONLY.union(names)
        self._special = _SPECIAL.union(names)
        self._special_but_te = self._special - {_TE}

    def __call__(self, request: Request, *, secure: bool = False) -> None:
        """Change the request in place. Raises ProxyError where it must not go on."""
        headers = request.headers
        index = headers.index
        if not request.authority:
            raise _refused(400, "missing_host_header")
        if len(index) != len(headers.pairs):
            join_repeated(headers, INLINE_REQUEST)
        edge = self._edge
        if (
            self._plain
            and (not has_any(index, self._special) or self._is_plain_call(headers))
            and not (edge and self._needs_care(request))
            and not is_odd(request.path)
        ):
            # The common case: nothing to take away, a few headers to add.
            peer = self._peer(request) if edge else None
            if peer is not None:
                headers.pairs.append(peer.forwarded_for)
                index[_XFF] = peer.forwarded_for[1]
            if _XFP not in index:
                pair = _XFP_HTTPS if secure else _XFP_HTTP
                headers.pairs.append(pair)
                index[_XFP] = pair[1]
            if peer is not None:
                headers.pairs.append(peer.verdict)
                index[peer.verdict[0]] = peer.verdict[1]
                request.info.internal = peer.internal
            if secure and self._client_cert.adds:
                self._client_cert(headers, request.info.connection.tls)
        else:
            self._in_full(request, secure)
        proto = index[_XFP]
        if not request.scheme:
            request.scheme = proto if proto in (b"http", b"https") else b"http"
        if self._generate_id and not index.get(_REQUEST_ID):
            request_id = self._ids.next()
            if _REQUEST_ID in index:
                headers.set(_REQUEST_ID, request_id)
            else:
                headers.pairs.append((_REQUEST_ID, request_id))
                index[_REQUEST_ID] = request_id

    def _is_plain_call(self, headers: Headers) -> bool:
        """Whether all that is special is the `te: trailers` that every gRPC call has, which stays as it is."""
        index = headers.index
        return (
            index.get(_TE) == b"trailers"
            and len(index) == len(headers.pairs)
            and not has_any(index, self._special_but_te)
        )

    def _needs_care(self, request: Request) -> bool:
        """A request at the edge that says of itself what is ours to say, or whose peer has no address."""
        index = request.headers.index
        return _XFP in index or _REQUEST_ID in index or not request.info.connection.peer[1]

    def _peer(self, request: Request) -> _Peer:
        """What is said of the peer of a connection; the same for all its requests."""
        host = request.info.connection.peer[0]
        found = self._peers.get(host)
        if found is None:
            if len(self._peers) >= _MOST_PEERS:
                self._peers.clear()
            found = self._peers[host] = _Peer(host, self._is_internal(host))
        return found

    def _in_full(self, request: Request, secure: bool) -> None:
        self.clean_path(request)
        if self._host_options:
            self._host(request, secure)
        if self._underscores:
            self._check_underscores(request)
        self._remove_hop_by_hop(request)
        internal, client = self._origin(request, secure)
        headers = request.headers
        from_outside = self._edge and not internal
        if from_outside:
            for name in _EDGE_ONLY:
                headers.remove(name)
        if self._agent is not None:
            self._tell_agent(headers, self._agent)
        if not internal:
            for name in self._internal_only:
                headers.remove(name)
        else:
            headers.remove(b"x-envoy-internal")
            headers.add(b"x-envoy-internal", b"true")
            request.info.internal = True
        self._client_cert(headers, request.info.connection.tls)
        if self._via:
            headers.add(b"via", self._via) if b"via" not in headers.index else headers.set(
                b"via",
                headers.joined(b"via") + b", " + self._via,  # type: ignore[operator]
            )
        if from_outside and client:
            headers.set(b"x-envoy-external-address", client.encode())
            known = headers.index.get(_REQUEST_ID)
            if known is not None and self._generate_id:
                options = self._config.request_id
                if not options.preserve_external:
                    headers.set(_REQUEST_ID, self._ids.next())
                elif options.pack_trace_reason:
                    headers.set(_REQUEST_ID, mark(known, Reason.NOT_TRACEABLE))  # nobody outside decides for us

    def _tell_agent(self, headers: Headers, agent: bytes) -> None:
        """Which service the request comes from: the one that this proxy stands beside (Envoy: add_user_agent)."""
        headers.set(b"x-envoy-downstream-service-cluster", agent)
        if not headers.get(b"user-agent"):
            headers.set(b"user-agent", agent)
        if self._node:
            headers.set(b"x-envoy-downstream-service-node", self._node)

    # Where it came from

    def _origin(self, request: Request, secure: bool) -> tuple[bool, str]:
        """Whether the request is internal, and the IP address of the client. Writes x-forwarded-*."""
        headers, forwarding = request.headers, self._config.forwarding
        connection = request.info.connection
        peer, pipe = connection.peer[0], not connection.peer[1]
        forwarded = headers.joined(_XFF)
        client, single = "", forwarded is None
        if forwarding.use_remote_address:
            if forwarding.xff_num_trusted_hops and forwarded is not None:
                client, _ = _client_of(forwarded, forwarding.xff_num_trusted_hops - 1)
            client = client or peer
            if not forwarding.skip_xff_append and not pipe:
                own = first_address() if _is_loopback(peer) else peer
                headers.set(_XFF, own.encode() if forwarded is None else forwarded + b"," + own.encode())
            if not forwarding.xff_num_trusted_hops or _XFP not in headers.index:
                headers.set(_XFP, b"https" if secure else b"http")
        else:
            if forwarded is not None:
                client, single = _client_of(forwarded, forwarding.xff_num_trusted_hops)
            if _XFP not in headers.index:
                headers.add(_XFP, b"https" if secure else b"http")
        if forwarding.append_x_forwarded_port and not pipe:
            believed = _XFPORT in headers.index and not (
                forwarding.use_remote_address and not forwarding.xff_num_trusted_hops
            )
            if not believed:
                headers.set(_XFPORT, b"%d" % connection.local[1])
        if self._scheme:
            request.scheme = self._scheme
            headers.set(_XFP, self._scheme)
        internal = single and bool(client) and self._is_internal(client)
        if client and client != connection.remote[0]:
            request.info.connection = connection.seen_as((client, 0))
        return internal, "" if pipe and client == peer else client or peer

    def _is_internal(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return self._config.forwarding.unix_sockets_internal
        return any(address in network for network in self._internal)

    # Path and authority

    def clean_path(self, request: Request) -> None:
        """Make the path canonical as far as the configuration asks for it. Raises ProxyError where that cannot be."""
        path = request.path
        if b"#" in path:
            raise _refused(400, "path_normalization_failed")
        if not self._any_path_option or path[:1] != b"/":
            return
        options = self._config.paths
        if options.escaped_slashes is not EscapedSlashes.KEEP_UNCHANGED:
            unescaped = paths.unescape_slashes(path)
            if unescaped is not path:
                if options.escaped_slashes is EscapedSlashes.REJECT_REQUEST:
                    request.path = unescaped
                    raise _refused(400, "path_normalization_failed")
                path = unescaped
        if options.normalize:
            normal = paths.normalize(path)
            if normal is None:
                raise _refused(400, "path_normalization_failed")
            path = normal
        if options.merge_slashes:
            path = paths.merge_slashes(path)
        came, request.path = request.path, path
        if options.escaped_slashes is EscapedSlashes.UNESCAPE_AND_REDIRECT and paths.unescape_slashes(came) != came:
            raise ProxyError(None, Source.LOCAL, 307, "path_normalization_failed", headers=((b"location", path),))

    def _host(self, request: Request, secure: bool) -> None:
        options = self._config.paths
        host, colon, port = request.authority.rpartition(b":")
        if not colon or not port.isdigit():
            host, colon, port = request.authority, b"", b""
        if options.strip_trailing_host_dot and host.endswith(b"."):
            host = host[:-1]
        if colon:
            own = b"%d" % request.info.connection.local[1]
            if options.strip_any_host_port or (options.strip_matching_host_port and port == own):
                colon = port = b""
        request.authority = host + colon + port

    def _check_underscores(self, request: Request) -> None:
        named = [name for name in request.headers.index if b"_" in name]
        if not named:
            return
        if self._config.underscores is Underscores.REJECT_REQUEST:
            raise _broken(request, "http1.unexpected_underscore")
        for name in named:
            request.headers.remove(name)

    def _remove_hop_by_hop(self, request: Request) -> None:
        headers = request.headers
        index = headers.index
        nominated = headers.joined(b"connection")
        upgrade = False
        if nominated is not None:
            for name in nominated.lower().split(b","):
                name = name.strip()
                if name == b"host":
                    request.authority = b""
                    headers.remove(b"connection")
                    raise _refused(400, "missing_host_header")
                if name in _PROTECTED:
                    raise _broken(request, "http1.connection_header_rejected")
                if name == b"upgrade":
                    upgrade = name in index
                elif name != b"te":
                    headers.remove(name)
        for name in _HOP_BY_HOP:
            if name in index and not (upgrade and name in _OF_UPGRADES):
                headers.remove(name)
        if b"te" in index:
            if b"trailers" in (headers.joined(b"te") or b"").lower():
                headers.set(b"te", b"trailers")
            else:
                headers.remove(b"te")
        if b"expect" in index and index[b"expect"].lower() == b"100-continue" and not self._config.proxy_100_continue:
            headers.remove(b"expect")


def _client_of(forwarded: bytes, hops: int) -> tuple[str, bool]:
    """The address `hops` from the right of x-forwarded-for, and whether it is the only one; empty if unusable."""
    addresses = forwarded.split(b",")
    if len(addresses) <= hops:
        return "", False
    text = addresses[-1 - hops].strip().decode("latin-1")
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "", False
    return text, len(addresses) == 1


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _broken(request: Request, details: str) -> ProxyError:
    """What Envoy's codec refuses already: it looks like a request that could not be read."""
    request.method = request.path = request.authority = request.scheme = b""
    request.headers = Headers()
    request.info.request_end = 0.0
    return ProxyError(ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR, Source.DOWNSTREAM, 400, details, body=b"Bad Request")


def _refused(status: int, details: str) -> ProxyError:
    return ProxyError(None, Source.DOWNSTREAM, status, details)
