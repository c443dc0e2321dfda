"""proxy_protocol: the address of the client, told by a load balancer in front (HAProxy's PROXY protocol, v1 and v2).

A listener filter. Envoy: envoy.filters.listener.proxy_protocol. Security posture: believes whoever connects, so it
belongs where only the load balancer can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyproxy.config.extensions import CompileContext
from pyproxy.config.proxy_header import NOTHING_PASSED, PassedTlvs, compile_passed_tlvs
from pyproxy.config.view import View
from pyproxy.network.incoming import Incoming, IncomingClosed
from pyproxy.network.proxy_header import BadProxyHeader, NoProxyHeader, ProxyHeader, read_proxy_header
from pyproxy.runtime import Runtime
from pyproxy.telemetry.listener_filter_stats import ProxyProtocolStats

_MOST_HEADER: Final = 16 + 65535
_NAMESPACE: Final = "envoy.filters.listener.proxy_protocol"
_VERSIONS: Final = {"V1": 1, "V2": 2}


@dataclass(frozen=True, slots=True)
class TlvRule:
    """The value of a TLV of this type becomes metadata."""

    tlv_type: int
    namespace: str
    key: str


@dataclass(frozen=True, slots=True)
class ProxyProtocolConfig:
    rules: tuple[TlvRule, ...] = ()
    optional: bool = False
    disallowed: frozenset[int] = frozenset()
    stat_prefix: str = ""
    passed: PassedTlvs = NOTHING_PASSED

    def build(self, runtime: Runtime) -> ProxyProtocol:
        return ProxyProtocol(self, runtime)


def compile(view: View, context: CompileContext) -> ProxyProtocolConfig:  # noqa: A001 (the name that every filter has)
    """A `ProxyProtocol`."""
    del context
    values = view.message.DESCRIPTOR.fields_by_name["disallowed_versions"].enum_type.values_by_number  # type: ignore[union-attr]
    versions = (values[number].name for number in view.scalars("disallowed_versions"))
    return ProxyProtocolConfig(
        rules=view.each("rules", _rule),
        optional=bool(view.scalar("allow_requests_without_proxy_protocol")),
        disallowed=frozenset(_VERSIONS[name] for name in versions),
        stat_prefix=view.text("stat_prefix"),
        passed=compile_passed_tlvs(view),
    )


def _rule(view: View) -> TlvRule:
    present = view.need("on_tlv_present")
    namespace = present.text("metadata_namespace") or _NAMESPACE
    return TlvRule(int(view.scalar("tlv_type")), namespace, present.text("key"))


class ProxyProtocol:
    """Shared by all connections of a listener."""

    def __init__(self, config: ProxyProtocolConfig, runtime: Runtime) -> None:
        self._config = config
        self._stats = ProxyProtocolStats(runtime.stats, config.stat_prefix)

    async def __call__(self, incoming: Incoming) -> None:
        """Raises IncomingClosed where there is no header, or none that is allowed."""
        stats = self._stats
        seen = b""
        try:
            header: ProxyHeader | int = 1
            while isinstance(header, int):
                seen = await incoming.peek(header, _MOST_HEADER)
                header = read_proxy_header(seen)
        except NoProxyHeader:
            if self._config.optional:
                stats.not_found_allowed.value += 1
                return
            stats.not_found_disallowed.value += 1
            raise IncomingClosed from None
        except BadProxyHeader as error:
            stats.any_error.value += 1
            stats.error[2 if seen.startswith(b"\r\n") else 1].value += 1
            raise IncomingClosed from error
        if header.version in self._config.disallowed:
            stats.disallowed[header.version].value += 1
            raise IncomingClosed
        stats.found[header.version].value += 1
        incoming.skip(header.size)
        self._believe(header, incoming)

    def _believe(self, header: ProxyHeader, incoming: Incoming) -> None:
        if header.source is not None and header.destination is not None:
            incoming.source = header.source
            incoming.restored = header.destination != incoming.direct_destination
            incoming.destination = header.destination
        incoming.tlvs = self._config.passed.of(header.tlvs)
        for rule in self._config.rules:
            for kind, value in header.tlvs:
                if kind == rule.tlv_type:
                    told = incoming.metadata.setdefault(rule.namespace, {})
                    told[rule.key] = value.decode("utf-8", "replace")
