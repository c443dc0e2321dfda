"""Which filter chain takes a connection, where a matcher says so by the chain's name (Envoy: filter_chain_matcher)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from pyproxy.config.unified_matcher import Matcher
from pyproxy.http.unified_matcher import build_matcher
from pyproxy.listeners.chain_matcher import ConnectionFacts

T = TypeVar("T")


class NamedChainMatcher(Generic[T]):
    """`find(facts)` gives the chain that the matcher names, or the default where it names none."""

    def __init__(self, matcher: Matcher, chains: Mapping[str, T], default: T | None = None) -> None:
        self._find = build_matcher(matcher, _INPUTS.__getitem__)
        self._chains = chains
        self._default = default

    def find(self, facts: ConnectionFacts) -> T | None:
        name = self._find(facts)
        return self._default if name is None else self._chains.get(name)


def _protocols(facts: ConnectionFacts) -> str | None:
    return ",".join(f"'{one}'" for one in facts.application_protocols) or None


def _text(value: object) -> str | None:
    return str(value) if value else None


def _source_type(facts: ConnectionFacts) -> str | None:
    source = facts.source
    return "local" if source is None or source.is_loopback or source == facts.destination else None


_INPUTS: Final[dict[str, Callable[[ConnectionFacts], str | None]]] = {
    "ApplicationProtocolInput": _protocols,
    "DestinationIPInput": lambda facts: _text(facts.destination),
    "DestinationPortInput": lambda facts: _text(facts.destination_port),
    "DirectSourceIPInput": lambda facts: _text(facts.direct_source),
    "ServerNameInput": lambda facts: facts.server_name or None,
    "SourceIPInput": lambda facts: _text(facts.source),
    "SourcePortInput": lambda facts: _text(facts.source_port),
    "SourceTypeInput": _source_type,
    "TransportProtocolInput": lambda facts: facts.transport_protocol or None,
}
