"""The PROXY header that upstreams are sent. Envoy: envoy.config.core.v3.ProxyProtocolConfig."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyproxy.config.view import View

Tlv = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class PassedTlvs:
    """Which TLVs of the downstream's header are kept or passed on."""

    everything: bool = False
    types: frozenset[int] = frozenset()

    def of(self, tlvs: tuple[Tlv, ...]) -> tuple[Tlv, ...]:
        return tlvs if self.everything else tuple(one for one in tlvs if one[0] in self.types)


NOTHING_PASSED: Final = PassedTlvs()


@dataclass(frozen=True, slots=True)
class ProxyHeaderConfig:
    """`version` is 1 or 2; only version 2 has TLVs."""

    version: int = 1
    passed: PassedTlvs = NOTHING_PASSED
    added: tuple[Tlv, ...] = ()


def compile_proxy_header(view: View) -> ProxyHeaderConfig:
    """A `ProxyProtocolConfig`."""
    version = {"V1": 1, "V2": 2}[view.enum("version")]
    added = view.each("added_tlvs", _tlv)
    return ProxyHeaderConfig(version, compile_passed_tlvs(view), added)


def compile_passed_tlvs(view: View) -> PassedTlvs:
    """The `pass_through_tlvs` of a message."""
    passed = view.child("pass_through_tlvs")
    if passed is None:
        return NOTHING_PASSED
    types = frozenset(int(one) for one in passed.scalars("tlv_type"))
    return PassedTlvs(passed.enum("match_type") == "INCLUDE_ALL", types)


def _tlv(view: View) -> Tlv:
    if view.has("format_string"):
        view.fail("format_string", "values that are formatted are not supported yet", expected="value")
    return int(view.scalar("type")), bytes(view.scalar("value"))
