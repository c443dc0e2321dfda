"""Which filter chain takes a connection: pure, in the order that Envoy documents for FilterChainMatch.

Each criterion is one level of a tree. At each level the most specific branch that fits is taken and never left again:
a chain for port 443 that wants another server name does not give way to one for any port (as in Envoy).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pyproxy.config.filter_chain_match import FilterChainMatch, Network

T = TypeVar("T")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOCAL, _EXTERNAL, _ANY = "SAME_IP_OR_LOOPBACK", "EXTERNAL", "ANY"


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What is known of a connection when its chain is chosen. Addresses are None for Unix sockets."""

    destination: Address | None = None
    destination_port: int = 0
    source: Address | None = None
    source_port: int = 0
    direct_source: Address | None = None
    server_name: str = ""
    transport_protocol: str = "raw_buffer"
    application_protocols: tuple[str, ...] = ()


class FilterChainMatcher(Generic[T]):
    """`find(facts)` gives what stands with the match that fits best, or the default."""

    def __init__(self, chains: Iterable[tuple[FilterChainMatch, T]], default: T | None = None) -> None:
        self._default = default
        self._root = _build([(match, chain) for match, chain in chains], 0)

    def find(self, facts: ConnectionFacts) -> T | None:
        node: Any = self._root
        for level in _LEVELS:
            for key in level.lookups(node, facts):
                if key in node:
                    node = node[key]
                    break
            else:
                return self._default
        found: T = node
        return found


def _build(chains: Sequence[tuple[FilterChainMatch, Any]], depth: int) -> Any:
    if depth == len(_LEVELS):
        return chains[0][1]
    branches: dict[Hashable, list[tuple[FilterChainMatch, Any]]] = {}
    for match, chain in chains:
        for key in _LEVELS[depth].keys(match):
            branches.setdefault(key, []).append((match, chain))
    return {key: _build(below, depth + 1) for key, below in branches.items()}


@dataclass(frozen=True, slots=True)
class _Level:
    """One criterion: the branches that a match belongs to, and those to look for, most specific first."""

    keys: Callable[[FilterChainMatch], Iterable[Hashable]]
    lookups: Callable[[Any, ConnectionFacts], Iterable[Hashable]]


def _ports(_node: Any, facts: ConnectionFacts) -> Iterator[Hashable]:
    if facts.destination_port:
        yield facts.destination_port
    yield 0


def _server_names(_node: Any, facts: ConnectionFacts) -> Iterator[Hashable]:
    name = facts.server_name
    if name:
        yield name
        dot = name.find(".", 1)
        while dot > 0:
            yield name[dot:]
            dot = name.find(".", dot + 1)
    yield ""


def _longest(attribute: str) -> Callable[[Any, ConnectionFacts], Iterator[Hashable]]:
    """The longest of the ranges that hold an address."""

    def lookups(node: Any, facts: ConnectionFacts) -> Iterator[Hashable]:
        address: Address | None = getattr(facts, attribute)
        if address is not None:
            ranges: list[Network] = [one for one in node if one is not None and address in one]
            yield from sorted(ranges, key=lambda one: -one.prefixlen)
        yield None

    return lookups


def _source_types(_node: Any, facts: ConnectionFacts) -> Iterator[Hashable]:
    source, destination = facts.source, facts.destination
    local = source is None or source.is_loopback or source == destination
    yield _LOCAL if local else _EXTERNAL
    yield _ANY


_LEVELS: Final = (
    _Level(lambda match: (match.destination_port,), _ports),
    _Level(lambda match: match.prefix_ranges or (None,), _longest("destination")),
    _Level(lambda match: match.server_names or ("",), _server_names),
    _Level(lambda match: (match.transport_protocol,), lambda _, facts: (facts.transport_protocol, "")),
    _Level(lambda match: match.application_protocols or ("",), lambda _, facts: (*facts.application_protocols, "")),
    _Level(lambda match: match.direct_source_prefix_ranges or (None,), _longest("direct_source")),
    _Level(lambda match: (match.source_type,), _source_types),
    _Level(lambda match: match.source_prefix_ranges or (None,), _longest("source")),
    _Level(lambda match: match.source_ports or (0,), lambda _, facts: (facts.source_port, 0)),
)
