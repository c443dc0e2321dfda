"""Matching as Envoy's documentation tells it, one route after the other: what the compiled table is compared with."""

from __future__ import annotations

import re

from pyproxy.config.matchers import HeaderMatch, StringMatch
from pyproxy.config.route import PathKind, RouteMatch, RouteTableConfig, VirtualHostConfig
from pyproxy.http.message import Request


def find(table: RouteTableConfig, request: Request) -> tuple[str, int] | None:
    """The name of the virtual host and the place of the route."""
    host = find_host(table, request.authority.decode())
    if host is None:
        return None
    for place, route in enumerate(host.routes):
        if path_fits(route.match, request.path.decode()) and all(header_fits(h, request) for h in route.match.headers):
            return host.name, place
    return None


def find_host(table: RouteTableConfig, authority: str) -> VirtualHostConfig | None:
    name = authority.lower()
    if table.ignore_port:
        name = re.sub(r":[^:\]]*$", "", name)
    best: tuple[int, int] | None = None
    chosen = None
    for host in table.virtual_hosts:
        for domain in host.domains:
            rank = _rank(domain.lower(), name)
            if rank is not None and (best is None or rank > best):
                best, chosen = rank, host
    return chosen


def _rank(domain: str, name: str) -> tuple[int, int] | None:
    """How good a domain is for a name: kind first, then length; None if it does not fit."""
    if domain == "*":
        return 0, 0
    if domain.startswith("*"):
        return (2, len(domain)) if name.endswith(domain[1:]) and len(name) >= len(domain) else None
    if domain.endswith("*"):
        return (1, len(domain)) if name.startswith(domain[:-1]) and len(name) >= len(domain) else None
    return (3, 0) if domain == name else None


def path_fits(match: RouteMatch, path: str) -> bool:
    bare, wanted = path.split("?")[0], match.path
    if not match.case_sensitive and match.kind in (PathKind.EXACT, PathKind.PREFIX, PathKind.SEPARATED_PREFIX):
        bare, wanted = bare.lower(), wanted.lower()
    match match.kind:
        case PathKind.EXACT:
            return bare == wanted
        case PathKind.PREFIX:
            return bare.startswith(wanted)
        case PathKind.SEPARATED_PREFIX:
            return bare == wanted or bare.startswith(wanted + "/")
        case PathKind.REGEX:
            return re.fullmatch(wanted, bare) is not None
        case kind:
            raise NotImplementedError(kind)


def header_fits(match: HeaderMatch, request: Request) -> bool:
    """Exact matches only."""
    assert isinstance(match.string, StringMatch)
    return match.string.value.encode() in request.headers.get_all(match.name)
