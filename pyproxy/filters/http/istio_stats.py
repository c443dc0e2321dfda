"""istio.stats: the standard metrics of a mesh, for HTTP and as a network filter for TCP.

Envoy (Istio): stats.PluginConfig. Security posture: labels tell what peers say of themselves; how many sets of labels
there may be is bounded. Counts when a request is over, so it costs a request nothing on its way.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.extensions import CompileContext
from pyproxy.config.format import Format, Operator
from pyproxy.config.istio_peer import Workload
from pyproxy.config.istio_stats import IstioStatsConfig, LabelRule, Reporter
from pyproxy.config.view import View
from pyproxy.filters.common.network_filter import STAYS, Leave
from pyproxy.http.message import Request, Response
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.runtime import Runtime
from pyproxy.telemetry.formatter import build_formatter
from pyproxy.telemetry.istio_metrics import UNKNOWN, Expression, IstioMetrics

log = logging.getLogger("pyproxy.filters.istio_stats")

Next = Callable[[Request], Awaitable[Response]]
Observe = Callable[[Request, Response | None], None]
_LITERAL: Final = re.compile(r"""'([^'\\]*)'|"([^"\\]*)\"""")
_LOOKUP: Final = re.compile(r"""(request\.headers|response\.headers|node\.metadata)\[(?:'([^']*)'|"([^"]*)")\]""")
_ATTRIBUTES: Final = {
    "request.method": Operator("REQ", ":METHOD"),
    "request.host": Operator("REQ", ":AUTHORITY"),
    "request.path": Operator("REQ", ":PATH"),
    "request.url_path": Operator("PATH", "NQ:PATH"),
    "request.protocol": Operator("PROTOCOL"),
    "request.useragent": Operator("REQ", "USER-AGENT"),
    "request.id": Operator("REQ", "X-REQUEST-ID"),
    "response.code": Operator("RESPONSE_CODE"),
    "response.code_details": Operator("RESPONSE_CODE_DETAILS"),
    "destination.port": Operator("DOWNSTREAM_LOCAL_PORT"),
    "connection.requested_server_name": Operator("REQUESTED_SERVER_NAME"),
}
"""The attributes of CEL expressions that are known here. Others give `unknown`, as one that fails does in Istio."""


@dataclass(frozen=True, slots=True)
class IstioStatsFilterConfig:
    """The filter as a value."""

    stats: IstioStatsConfig

    def build(self, runtime: Runtime) -> IstioStats:
        return IstioStats(self.stats, runtime)

    def observe(self, runtime: Runtime) -> Observe:
        """What is called with each request of the chain when it is over."""
        return _metrics(self.stats, runtime).count_request


def compile(view: View, context: CompileContext) -> IstioStatsFilterConfig:  # noqa: A001 (the name that filters have)
    """A `PluginConfig`. Metrics with definitions of their own stay unread, and so are listed as not honoured."""
    del context
    view.ignore("tcp_reporting_duration", "rotation_interval", "graceful_deletion_interval")
    gateway = view.enum("reporter") == "SERVER_GATEWAY"
    return IstioStatsFilterConfig(
        IstioStatsConfig(
            reporter=Reporter.WAYPOINT if gateway else None,
            host_fallback=not view.scalar("disable_host_header_fallback"),
            rules=view.each("metrics", _rule),
        )
    )


def _rule(view: View) -> LabelRule:
    view.ignore("match")  # Istio does not look at it either
    return LabelRule(
        metric=view.text("name"),
        drop=bool(view.scalar("drop")),
        remove=tuple(str(label) for label in view.scalars("tags_to_remove")),
        add=tuple((str(label), str(text)) for label, text in sorted(view.strings("dimensions").items())),
    )


class IstioStats:
    """As an HTTP filter it lets everything pass; as a network filter it counts the sessions of the TCP proxy."""

    def __init__(self, config: IstioStatsConfig, runtime: Runtime) -> None:
        self._config = config
        self._runtime = runtime

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002 (the name that every filter has)
        return await next(request)

    def admit(self, info: ConnectionInfo) -> Leave | None:
        del info
        return STAYS

    def observe_sessions(self) -> Observe:
        """What is called with each session of a TCP proxy."""
        metrics = _metrics(self._config, self._runtime)

        def count(request: Request, response: Response | None) -> None:
            if request.info.log_type == "TcpConnectionEnd":
                metrics.count_connection(request)

        return count


def _metrics(config: IstioStatsConfig, runtime: Runtime) -> IstioMetrics:
    texts = dict.fromkeys(text for rule in config.rules for _, text in rule.add)
    expressions = {text: expression(text, runtime.node) for text in texts}
    metadata = runtime.node.metadata
    made = IstioMetrics(config, runtime.stats, Workload.of_metadata(metadata), expressions)
    made.tell_version(str(metadata.get("ISTIO_VERSION", "")))
    return made


def expression(text: str, node: NodeConfig) -> Expression:
    """The value of a label that the configuration adds."""
    text = text.strip()
    literal = _LITERAL.fullmatch(text)
    if literal is not None:
        value = literal[1] if literal[1] is not None else literal[2]
        return lambda request, response: value
    lookup = _LOOKUP.fullmatch(text)
    if lookup is not None:
        key = lookup[2] if lookup[2] is not None else lookup[3]
        if lookup[1] == "node.metadata":
            found = str(node.metadata.get(key, UNKNOWN))
            return lambda request, response: found
        return _format(Operator("REQ" if lookup[1] == "request.headers" else "RESP", key))
    if text in ("node.id", "node.cluster"):
        own = node.id if text == "node.id" else node.cluster
        return lambda request, response: own
    operator = _ATTRIBUTES.get(text)
    if operator is None:
        log.warning("the expression %r of a label is not understood: its value is %r", text, UNKNOWN)
        return lambda request, response: UNKNOWN
    return _format(operator)


def _format(operator: Operator) -> Expression:
    return build_formatter(Format((operator,), omit_empty=True))
