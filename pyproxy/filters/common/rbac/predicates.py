"""Functions of facts, built once from rules: all that can be worked out before a connection comes is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

from pyproxy.config.matchers import HeaderMatch, StringMatch
from pyproxy.filters.common.rbac.config import (
    AllOf,
    AnyOf,
    Anything,
    Authenticated,
    HasHeader,
    HasMetadata,
    HasPath,
    InNetwork,
    Not,
    Rule,
    ToPort,
    ToServer,
)
from pyproxy.filters.common.rbac.facts import RbacFacts, address_number
from pyproxy.filters.common.rbac.metadata_match import build_metadata_predicate
from pyproxy.http.predicates import build_header_predicate, build_string_predicate

Predicate = Callable[[RbacFacts], bool]


def build_predicate(rule: Rule) -> Predicate:
    """A function that tells whether a rule fits."""
    match rule:
        case Anything():
            return lambda _: True
        case AllOf(rules):
            return _every(tuple(build_predicate(one) for one in rules))
        case AnyOf(rules):
            return any_of(rules)
        case Not(inner):
            fits = build_predicate(inner)
            return lambda facts: not fits(facts)
        case HasHeader(header):
            return _header(header)
        case HasPath(path):
            return _path(path)
        case InNetwork():
            return _network(rule)
        case ToPort(start, end):
            return _port(start, end)
        case ToServer(name):
            is_name = build_string_predicate(name)
            return lambda facts: is_name(facts.connection.requested_server_name.encode())
        case HasMetadata():
            return _metadata(rule)
        case Authenticated(principal):
            return _has_certificate if principal is None else _certificate(principal)


def any_of(rules: Sequence[Rule]) -> Predicate:
    """A function that tells whether one of several rules fits."""
    predicates = tuple(build_predicate(one) for one in rules)
    if len(predicates) == 1:
        return predicates[0]

    def one_of(facts: RbacFacts) -> bool:
        for predicate in predicates:  # noqa: SIM110 (a generator would cost an object)
            if predicate(facts):
                return True
        return False

    return one_of


def _every(predicates: tuple[Predicate, ...]) -> Predicate:
    def every(facts: RbacFacts) -> bool:
        for predicate in predicates:  # noqa: SIM110 (a generator would cost an object)
            if not predicate(facts):
                return False
        return True

    return every


def _header(match: HeaderMatch) -> Predicate:
    """A connection has none, whichever way the rule is meant."""
    fits = build_header_predicate(match)
    return lambda facts: facts.request is not None and fits(facts.request)


def _path(match: StringMatch) -> Predicate:
    """Neither query nor fragment; a CONNECT may have no path at all (Envoy: PathMatcher)."""
    fits = build_string_predicate(match)

    def has_path(facts: RbacFacts) -> bool:
        request = facts.request
        if request is None or not request.path:
            return False
        return fits(request.path.partition(b"?")[0].partition(b"#")[0])

    return has_path


def _network(rule: InNetwork) -> Predicate:
    version, read = rule.version, attrgetter(rule.of.value)
    shift = (32 if version == 4 else 128) - rule.length
    wanted = rule.first >> shift

    def in_network(facts: RbacFacts) -> bool:
        found, number = address_number(read(facts.connection)[0])
        return found == version and number >> shift == wanted

    return in_network


def _port(start: int, end: int) -> Predicate:
    """What has no IP address has no port."""

    def to_port(facts: RbacFacts) -> bool:
        host, port = facts.connection.local
        return start <= port < end and address_number(host)[0] != 0

    return to_port


def _metadata(rule: HasMetadata) -> Predicate:
    fits = build_metadata_predicate(rule.match)
    if not rule.of_route:
        return lambda facts: fits(facts.dynamic_metadata)

    def of_route(facts: RbacFacts) -> bool:
        """Without a route nothing fits, not even what is inverted (Envoy)."""
        request = facts.request
        return request is not None and request.route is not None and fits(request.info.route_metadata)

    return of_route


def _has_certificate(facts: RbacFacts) -> bool:
    tls = facts.connection.tls
    return tls is not None and tls.peer_presented


def _certificate(match: StringMatch) -> Predicate:
    """URI names, then DNS names, then the subject, which is empty where the peer has no certificate (Envoy)."""
    fits = build_string_predicate(match)

    def is_principal(facts: RbacFacts) -> bool:
        tls = facts.connection.tls
        if tls is None:
            return False
        for kind in ("URI", "DNS"):
            for name in tls.peer_sans(kind):
                if fits(name.encode()):
                    return True
        return fits(tls.peer_subject.encode())

    return is_principal
