"""The number by which a request finds its host (Envoy: Http::HashPolicyImpl, xxHash64 of what policies name)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import xxhash

from pyproxy.config.regex import build_rewrite
from pyproxy.config.route import HashKind, HashPolicyConfig
from pyproxy.http.message import Headers, Request

HashOf = Callable[[Request], int]
_Evaluate = Callable[[Request], bytes | None]
_MASK: Final = (1 << 64) - 1
NOTHING: Final = -1


def hash64(value: bytes) -> int:
    """Envoy's HashUtil::xxHash64."""
    return xxhash.xxh64_intdigest(value)


def build_hash(policies: tuple[HashPolicyConfig, ...]) -> HashOf | None:
    """A function from a request to 64 bits, or `NOTHING`; None where there are no policies."""
    if not policies:
        return None
    steps = [(_build(policy), policy.terminal) for policy in policies]
    if len(steps) == 1:
        only = steps[0][0]

        def single(request: Request) -> int:
            found = only(request)
            return NOTHING if found is None else xxhash.xxh64_intdigest(found)

        return single

    def several(request: Request) -> int:
        result = NOTHING
        for evaluate, terminal in steps:
            found = evaluate(request)
            if found is not None:
                # Rotated, so that two policies that find the same do not cancel each other out.
                before = 0 if result < 0 else (result << 1 | result >> 63) & _MASK
                result = before ^ xxhash.xxh64_intdigest(found)
            if terminal and result >= 0:
                break
        return result

    return several


def _build(policy: HashPolicyConfig) -> _Evaluate:
    match policy.kind:
        case HashKind.HEADER:
            return _header(policy)
        case HashKind.COOKIE:
            return _cookie(policy)
        case HashKind.QUERY:
            return _query(policy.name.encode())
        case HashKind.FILTER_STATE:
            return _state(policy.name)
        case HashKind.SOURCE_IP:
            return lambda request: request.info.connection.remote[0].encode() or None


def _header(policy: HashPolicyConfig) -> _Evaluate:
    name = policy.name.encode()
    rewrite = None if policy.rewrite is None else build_rewrite(policy.rewrite.pattern, policy.rewrite.substitution)
    pseudo = _PSEUDO.get(name)

    def header(request: Request) -> bytes | None:
        values = [pseudo(request)] if pseudo is not None else request.headers.get_all(name)
        if not values:
            return None
        if rewrite is not None:
            values = [rewrite(value) for value in values]
        return values[0] if len(values) == 1 else b"".join(sorted(values))  # in whatever order they came

    return header


_PSEUDO: Final[dict[bytes, Callable[[Request], bytes]]] = {
    b":method": lambda request: request.method,
    b":path": lambda request: request.path,
    b":authority": lambda request: request.authority,
    b"host": lambda request: request.authority,
    b":scheme": lambda request: request.scheme,
}


def _query(name: bytes) -> _Evaluate:
    def query(request: Request) -> bytes | None:
        for pair in request.path.partition(b"?")[2].partition(b"#")[0].split(b"&"):
            key, _, value = pair.partition(b"=")
            if key == name:
                return value
        return None

    return query


def _state(key: str) -> _Evaluate:
    """Of the request, else of its connection."""

    def state(request: Request) -> bytes | None:
        for found in (request.info.filter_state, request.info.connection.filter_state):
            if found is not None and key in found:
                return str(found[key]).encode()
        return None

    return state


def _cookie(policy: HashPolicyConfig) -> _Evaluate:
    name, ttl = policy.name.encode(), policy.ttl

    def cookie(request: Request) -> bytes | None:
        found = cookie_value(request.headers, name)
        if found or ttl is None:
            return found or None
        value = _new_cookie(request)
        made = set_cookie(policy.name, value, int(ttl), policy.path, policy.attributes)
        request.info.set_cookies = (*request.info.set_cookies, made)
        return value

    return cookie


def cookie_value(headers: Headers, name: bytes) -> bytes:
    """The value of a cookie, without quotes; empty where it is not there (Envoy: Utility::parseCookieValue)."""
    for line in headers.get_all(b"cookie"):
        for crumb in line.split(b";"):
            key, _, value = crumb.strip().partition(b"=")
            if key == name:
                value = value.strip()
                return value[1:-1] if len(value) >= 2 and value[:1] == value[-1:] == b'"' else value
    return b""


def _new_cookie(request: Request) -> bytes:
    """The same for all requests of a connection, so that those that race get the same."""
    connection = request.info.connection
    ends = [_address(connection.remote), _address(connection.local)]
    return b"%016x" % xxhash.xxh64_intdigest("".join(ends).encode())


def _address(at: tuple[str, int]) -> str:
    host, port = at
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def set_cookie(name: str, value: bytes, ttl: int, path: str, attributes: tuple[tuple[str, str], ...]) -> bytes:
    """A `set-cookie` header, as Envoy writes it (Utility::makeSetCookieValue)."""
    parts = [name.encode() + b'="' + value + b'"']
    if ttl:
        parts.append(b"Max-Age=%d" % ttl)
    if path:
        parts.append(b"Path=" + path.encode())
    parts += [key.encode() + (b"=" + text.encode() if text else b"") for key, text in attributes]
    parts.append(b"HttpOnly")
    return b"; ".join(parts)
