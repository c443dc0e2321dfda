"""Operators that say who talked to whom: DOWNSTREAM_REMOTE_ADDRESS, UPSTREAM_HOST and their kin."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pyproxy.config.format import Operator
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.formatter_expression import Expression, Kind, Scope, Unset, call, made, repeated

Address = tuple[str, int]

_PAIRS: Final[dict[str, str]] = {
    "DOWNSTREAM_REMOTE": "connection.remote",
    "DOWNSTREAM_DIRECT_REMOTE": "connection.direct_remote",
    "DOWNSTREAM_LOCAL": "connection.local",
    "DOWNSTREAM_DIRECT_LOCAL": "connection.direct_local",
    "UPSTREAM_LOCAL": "upstream.local",
    # Known once there is a connection: a host that refused is UPSTREAM_HOST only.
    "UPSTREAM_REMOTE": (
        "(upstream.remote if upstream.remote[0] else split(upstream.host_address)) if upstream.local[0] else NOWHERE"
    ),
}
_NOWHERE: Final[Address] = ("", 0)
_INTERNAL: Final = "envoy://"


def address(operator: Operator, scope: Scope) -> Expression | None:
    """`X_ADDRESS`, `X_ADDRESS_WITHOUT_PORT(mask)`, `X_PORT`, `X_ADDRESS_ENDPOINT_ID`; None for other operators."""
    for suffix, write in _SUFFIXES.items():
        pair = _PAIRS.get(operator.name.removesuffix(suffix)) if operator.name.endswith(suffix) else None
        if pair is not None:
            pair = pair.replace("split", scope.bind(split)).replace("NOWHERE", scope.bind(_NOWHERE))
            return write(f"({pair})", operator, scope)
    return None


def _whole(pair: str, operator: Operator, scope: Scope) -> Expression:
    return made(scope, pair, address_text)


def _without_port(pair: str, operator: Operator, scope: Scope) -> Expression:
    if not operator.argument:
        return repeated(f"{pair}[0]")
    mask = int(operator.argument)
    return made(scope, f"{pair}[0]", lambda host: network_text(host, mask))


def _port(pair: str, operator: Operator, scope: Scope) -> Expression:
    return Expression(Kind.NUMBER, f"{scope.bind(port_of)}({pair})", Unset.NONE)


def _endpoint_id(pair: str, operator: Operator, scope: Scope) -> Expression:
    return Expression(Kind.TEXT, f"{scope.bind(endpoint_id_of)}({pair}[0])", Unset.NONE)


_SUFFIXES: Final[dict[str, Callable[[str, Operator, Scope], Expression]]] = {
    "_ADDRESS": _whole,
    "_ADDRESS_WITHOUT_PORT": _without_port,
    "_PORT": _port,
    "_ADDRESS_ENDPOINT_ID": _endpoint_id,
}


def _is_path(host: str) -> bool:
    return host.startswith(("/", "@", _INTERNAL))


@lru_cache(maxsize=1024)
def address_text(pair: Address) -> str:
    host, port = pair
    if ":" in host and not _is_path(host):
        return f"[{host}]:{port}"
    return f"{host}:{port}" if host and not _is_path(host) else host


def endpoint_id_of(host: str) -> str | None:
    """Only internal addresses (`envoy://listener/id`) have one; that of others is empty."""
    if not host:
        return None
    return host.removeprefix(_INTERNAL).partition("/")[2] if host.startswith(_INTERNAL) else ""


def port_of(pair: Address) -> int | None:
    host, port = pair
    return port if host and not _is_path(host) else None


def network_text(host: str, mask: int) -> str:
    """The network of a host; a path, and a name that is no address, as they are."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((parsed, min(mask, parsed.max_prefixlen)), strict=False))


def split(whole: str) -> Address:
    """`ip:port`, `[ip]:port` or a path."""
    host, colon, port = whole.rpartition(":")
    if not colon or not port.isdigit():
        return whole, 0
    return host.strip("[]"), int(port)


def without_port(whole: str) -> str:
    return split(whole)[0]


# The upstream host

_HOST_NAME: Final = "upstream.host_name or upstream.host_address"


def host_name_without_port(operator: Operator, scope: Scope) -> Expression:
    return made(scope, _HOST_NAME, without_port)


def hosts_attempted(operator: Operator, scope: Scope) -> Expression:
    """`UPSTREAM_HOSTS_ATTEMPTED`, `UPSTREAM_HOST_NAMES_ATTEMPTED`, each also `_WITHOUT_PORT`."""
    names = "NAMES" in operator.name
    bare = operator.name.endswith("_WITHOUT_PORT")

    def attempted(request: Request, response: Response | None) -> str:
        info = request.info
        listed = info.host_names_attempted if names else ()
        listed = listed or info.hosts_attempted
        if not listed and info.upstream.local[0]:
            # The first host is the only one: nobody had to keep a list.
            listed = ((info.upstream.host_name if names else "") or info.upstream.host_address,)
        return ",".join(map(without_port, listed) if bare else listed)

    return call(scope, attempted, Kind.TEXT, Unset.EMPTY)


def connection_ids_attempted(operator: Operator, scope: Scope) -> Expression:
    def ids(request: Request, response: Response | None) -> str:
        info = request.info
        current = info.upstream.connection_id
        return ",".join(map(str, info.connection_ids_attempted or ([current] if current else [])))

    return call(scope, ids, Kind.TEXT, Unset.EMPTY)


UPSTREAM_TEXTS: Final[dict[str, str]] = {
    "UPSTREAM_HOST": "upstream.host_address",
    "UPSTREAM_HOST_NAME": _HOST_NAME,
}
