"""Istio's standard metrics: requests and connections of a mesh, labelled with who called whom.

What differs from request to request is one key; the 25 labels and the stats behind it are worked out when it is first
seen. There may be so many of them: what comes then is counted with `other` for every label, and in `labels_dropped`.
Source: istio.io "Istio Standard Metrics"; istio/proxy, source/extensions/filters/http/istio_stats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from pyproxy.config.istio_peer import Workload
from pyproxy.config.istio_stats import IstioStatsConfig, LabelRule, Reporter
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.formatter import log_text
from pyproxy.telemetry.metrics import Counter, Histogram, StatsStore
from pyproxy.telemetry.stat_tags import labelled

DOWNSTREAM_PEER: Final = "downstream_peer"
UPSTREAM_PEER: Final = "upstream_peer"
SCOPE: Final = "istiocustom"
MOST_LABEL_SETS: Final = 5000
UNKNOWN: Final = "unknown"
_LATEST: Final = "latest"
_OTHER: Final = "other"
_NOBODY: Final = Workload()
_SPECIAL: Final = frozenset(
    (
        "BlackHoleCluster",
        "PassthroughCluster",
        "InboundPassthroughCluster",
        "InboundPassthroughClusterIpv4",
        "InboundPassthroughClusterIpv6",
    )
)

Labels = dict[str, str]


class Key(NamedTuple):
    """What of a request decides its labels."""

    outbound: bool
    peer: Workload
    peer_san: str
    local_san: str
    cluster: str
    services: tuple[str, str] | None
    """(host, name) of the service that the cluster stands for."""
    route: str
    host: str
    protocol: str
    status: int
    grpc_status: str
    flags: str
    own: tuple[str, ...]
    """Values of labels that the configuration adds."""


class HttpRow(NamedTuple):
    """The stats of one set of labels; None for those that are dropped."""

    requests: Counter | None
    duration: Histogram | None
    request_bytes: Histogram | None
    response_bytes: Histogram | None


class TcpRow(NamedTuple):
    opened: Counter | None
    closed: Counter | None
    sent: Counter | None
    received: Counter | None


Expression = Callable[[Request, Response | None], str]


class IstioMetrics:
    """The metrics of one filter. `expressions` by the label rules' texts."""

    def __init__(
        self,
        config: IstioStatsConfig,
        store: StatsStore,
        node: Workload,
        expressions: Mapping[str, Expression],
    ) -> None:
        self._config = config
        self._node = node
        self._scope = store.scope(SCOPE)
        self._dropped = store.scope("istio").counter("labels_dropped")
        self._own = [expressions[text] for text in expressions]
        self._own_at = {text: at for at, text in enumerate(expressions)}
        self._http: dict[Key, HttpRow] = {}
        self._tcp: dict[Key, TcpRow] = {}
        self._http_overflow: HttpRow | None = None
        self._tcp_overflow: TcpRow | None = None

    def tell_version(self, version: str) -> None:
        """The gauge `istio_build`: which version of Istio this proxy belongs to."""
        self._scope.gauge(labelled("istio_build", {"component": "proxy", "tag": version or UNKNOWN})).value = 1

    def count_request(self, request: Request, response: Response | None) -> None:
        """A request is over."""
        key = self._key(request, response, "http")
        row = self._http.get(key)
        if row is None:
            row = self._http_row(key)
        info = request.info
        if row.requests is not None:
            row.requests.value += 1
        if row.duration is not None:
            row.duration.record(int((info.end - info.start) * 1000))
        if row.request_bytes is not None:
            row.request_bytes.record(info.wire_received)
        if row.response_bytes is not None:
            row.response_bytes.record(info.wire_sent)

    def count_connection(self, request: Request) -> None:
        """A TCP session is over."""
        key = self._key(request, None, "tcp")
        row = self._tcp.get(key)
        if row is None:
            row = self._tcp_row(key)
        info = request.info
        for counter, more in zip(row, (1, 1, info.wire_sent, info.wire_received), strict=True):
            if counter is not None:
                counter.value += more

    def _key(self, request: Request, response: Response | None, protocol: str) -> Key:
        info = request.info
        connection, upstream = info.connection, info.upstream
        reporter = self._config.reporter
        outbound = connection.outbound if reporter is None else reporter is Reporter.SOURCE
        state = info.filter_state
        peer = None if state is None else state.get(UPSTREAM_PEER if outbound else DOWNSTREAM_PEER)
        if peer is None and outbound:
            peer = Workload.of_endpoint(upstream.host_metadata)
        tls = upstream.tls if outbound else connection.tls
        grpc_status = ""
        if request.headers.index.get(b"content-type", b"")[:16] == b"application/grpc":
            protocol, grpc_status = "grpc", _grpc_status(request, response)
        return Key(
            outbound,
            peer or _NOBODY,
            "" if tls is None else _first(tls.peer_sans("URI")),
            "" if tls is None else _first(tls.local_uri_sans),
            upstream.cluster,
            _service(upstream.cluster_metadata),
            info.route_name,
            log_text(request.authority) if self._config.host_fallback else "",
            protocol,
            info.status,
            grpc_status,
            ",".join([flag.short for flag in info.flags]) or "-",
            tuple([one(request, response) for one in self._own]),
        )

    # Rows

    def _full(self) -> bool:
        if len(self._http) + len(self._tcp) < MOST_LABEL_SETS:
            return False
        self._dropped.value += 1
        return True

    def _http_row(self, key: Key) -> HttpRow:
        if self._full():
            if self._http_overflow is None:
                self._http_overflow = self._make_http(key, dict.fromkeys(self._labels(key), _OTHER))
            return self._http_overflow
        made = self._http[key] = self._make_http(key, self._labels(key))
        return made

    def _make_http(self, key: Key, labels: Labels) -> HttpRow:
        return HttpRow(
            self._counter("requests_total", key, labels),
            self._histogram("request_duration_milliseconds", key, labels),
            self._histogram("request_bytes", key, labels),
            self._histogram("response_bytes", key, labels),
        )

    def _tcp_row(self, key: Key) -> TcpRow:
        if self._full():
            if self._tcp_overflow is None:
                self._tcp_overflow = self._make_tcp(key, dict.fromkeys(self._labels(key), _OTHER))
            return self._tcp_overflow
        made = self._tcp[key] = self._make_tcp(key, self._labels(key))
        return made

    def _make_tcp(self, key: Key, labels: Labels) -> TcpRow:
        return TcpRow(
            self._counter("tcp_connections_opened_total", key, labels),
            self._counter("tcp_connections_closed_total", key, labels),
            self._counter("tcp_sent_bytes_total", key, labels),
            self._counter("tcp_received_bytes_total", key, labels),
        )

    def _counter(self, metric: str, key: Key, labels: Labels) -> Counter | None:
        name = self._name(metric, key, labels)
        return None if name is None else self._scope.counter(name)

    def _histogram(self, metric: str, key: Key, labels: Labels) -> Histogram | None:
        name = self._name(metric, key, labels)
        return None if name is None else self._scope.histogram(name)

    def _name(self, metric: str, key: Key, labels: Labels) -> str | None:
        """The stat of a metric with its labels; None where it is dropped."""
        wanted = dict(labels)
        for rule in self._config.rules:
            if rule.metric in ("", metric):
                if rule.drop:
                    return None
                self._change(wanted, rule, key)
        return labelled(f"istio_{metric}", wanted)

    def _change(self, labels: Labels, rule: LabelRule, key: Key) -> None:
        for label in rule.remove:
            labels.pop(label, None)
        for label, text in rule.add:
            labels[label] = key.own[self._own_at[text]] or UNKNOWN

    def _labels(self, key: Key) -> Labels:
        """All labels of a request, in Istio's order."""
        reporter = self._config.reporter or (Reporter.SOURCE if key.outbound else Reporter.DESTINATION)
        labels: Labels = {"reporter": reporter.value}
        ours, theirs = _known(self._node), _known(key.peer, _LATEST)
        namespace = _namespace(key.peer_san) or key.peer.namespace or UNKNOWN
        peer_principal, own_principal = key.peer_san or UNKNOWN, key.local_san or UNKNOWN
        host, name = self._destination(key)
        if key.outbound:
            labels |= _side("source", ours, self._node.namespace or UNKNOWN, own_principal)
            labels |= _side("destination", theirs, namespace, peer_principal)
            labels |= _services(host or UNKNOWN, name or UNKNOWN, namespace)
        else:
            labels |= _side("source", theirs, namespace, peer_principal)
            labels |= _side("destination", ours, self._node.namespace or UNKNOWN, own_principal)
            canonical = ours.canonical_name
            labels |= _services(host or canonical, name or canonical, self._node.namespace or UNKNOWN)
        labels["request_protocol"] = key.protocol
        if key.protocol != "tcp":
            labels["response_code"] = str(key.status)
            labels["grpc_response_status"] = key.grpc_status
        labels["response_flags"] = key.flags
        mutual = "mutual_tls" if key.peer_san and key.local_san else "none"
        labels["connection_security_policy"] = UNKNOWN if key.outbound else mutual
        return labels

    @staticmethod
    def _destination(key: Key) -> tuple[str, str]:
        """(host, name) of the service that was asked for."""
        if key.route == "block_all":
            return key.host, "BlackHoleCluster"
        if key.route == "allow_any":
            return key.host, "PassthroughCluster"
        if key.cluster in _SPECIAL:
            return key.host, key.cluster
        return key.services or (key.host, key.host)


def _known(workload: Workload, revision: str = UNKNOWN) -> Workload:
    """The same with a word for what is not known."""
    return Workload(
        workload.name or UNKNOWN,
        workload.namespace or UNKNOWN,
        workload.canonical_name or UNKNOWN,
        workload.canonical_revision or revision,
        workload.app or UNKNOWN,
        workload.version or UNKNOWN,
        workload.cluster or UNKNOWN,
    )


def _side(side: str, workload: Workload, namespace: str, principal: str) -> Labels:
    return {
        f"{side}_workload": workload.name,
        f"{side}_canonical_service": workload.canonical_name,
        f"{side}_canonical_revision": workload.canonical_revision,
        f"{side}_workload_namespace": namespace,
        f"{side}_principal": principal,
        f"{side}_app": workload.app,
        f"{side}_version": workload.version,
        f"{side}_cluster": workload.cluster,
    }


def _services(host: str, name: str, namespace: str) -> Labels:
    return {
        "destination_service": host,
        "destination_service_name": name,
        "destination_service_namespace": namespace,
    }


def _namespace(principal: str) -> str:
    """Of `spiffe://domain/ns/<namespace>/sa/<account>`."""
    _, found, rest = principal.partition("/ns/")
    return rest.partition("/")[0] if found else ""


def _service(metadata: Mapping[str, Any] | None) -> tuple[str, str] | None:
    istio = None if not metadata else metadata.get("istio")
    services = istio.get("services") if isinstance(istio, Mapping) else None
    if not services or not isinstance(services[0], Mapping):
        return None
    host = str(services[0].get("host", ""))
    return host, str(services[0].get("name", host.partition(".")[0]))


def _first(names: Any) -> str:
    return names[0] if names else ""


def _grpc_status(request: Request, response: Response | None) -> str:
    for pairs in (request.info.response_trailers, None if response is None else response.headers.pairs):
        for name, value in pairs or ():
            if name == b"grpc-status":
                return log_text(value)
    return ""
