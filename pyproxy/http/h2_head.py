"""From the pairs of an HTTP/2 header block to the head of a message, and back (RFC 9113 8.3)."""

from __future__ import annotations

from typing import Final

from pyproxy.http.codec import RequestHead
from pyproxy.http.message import Headers, Pair, Request

_COLON: Final = 58
CONNECT: Final = b"connect"
"""`Request.upgrade` of a CONNECT."""


def request_head(pairs: list[Pair], *, ended: bool) -> RequestHead:
    """The engine has checked the block, so pseudo-header fields are those of a request, each once and in front."""
    head = RequestHead()
    head.version = "HTTP/2"
    head.method = head.target = b""
    count = 0
    size = 0
    for name, value in pairs:
        if not name or name[0] != _COLON:
            break
        count += 1
        size += len(name) + len(value)
        if name == b":path":
            head.target = value
        elif name == b":method":
            head.method = value
        elif name == b":authority":
            head.host = value
        elif name == b":scheme":
            head.scheme = value.lower()
        else:
            head.protocol = value
    head.headers = headers = Headers(pairs[count:])
    head.size = size + headers.size()
    head.ended = ended
    index = headers.index
    if b"host" in index:  # RFC 9113 8.3.1: what it says, :authority says better
        if not head.host:
            head.host = index[b"host"]
        headers.remove(b"host")
    if len(index) != len(headers.pairs) and b"cookie" in index:
        _join_cookies(headers)
    if head.protocol is not None:  # as if it had been an upgrade of HTTP/1 (Envoy)
        head.method = b"GET"
        head.upgrade = True
        headers.add(b"upgrade", head.protocol)
        headers.add(b"connection", b"upgrade")
    elif head.method == b"CONNECT":
        head.upgrade = True
    if b"expect" in index:
        head.expect_continue = index[b"expect"].lower() == b"100-continue"
    return head


def _join_cookies(headers: Headers) -> None:
    """They may come in pieces so that they compress better (RFC 9113 8.2.3); nobody else has to know."""
    pieces = headers.get_all(b"cookie")
    if len(pieces) > 1:
        headers.remove(b"cookie")
        headers.add(b"cookie", b"; ".join(pieces))


def request_pairs(request: Request) -> list[Pair]:
    """The header block of a request that goes upstream."""
    if request.upgrade:
        return _tunnel_pairs(request)
    pseudo: list[Pair] = [(b":method", request.method), (b":scheme", request.scheme or b"http")]
    if request.authority:
        pseudo.append((b":authority", request.authority))
    pseudo.append((b":path", request.path))
    return pseudo + request.headers.pairs


def _tunnel_pairs(request: Request) -> list[Pair]:
    """CONNECT, or for what was an upgrade of HTTP/1 the extended CONNECT (RFC 8441)."""
    if request.upgrade == CONNECT:
        return [(b":method", b"CONNECT"), (b":authority", request.authority), *request.headers.pairs]
    return [
        (b":method", b"CONNECT"),
        (b":protocol", request.upgrade),
        (b":scheme", request.scheme or b"http"),
        (b":authority", request.authority),
        (b":path", request.path),
        *without_upgrade(request.headers.pairs),
    ]


def without_upgrade(pairs: list[Pair]) -> list[Pair]:
    """Header fields without those that ask for an upgrade of HTTP/1, or grant it."""
    return [pair for pair in pairs if pair[0] != b"upgrade" and pair[0] != b"connection"]


_STATUSES: Final = {status: (b":status", b"%d" % status) for status in range(100, 1000)}


def response_pairs(status: int, headers: Headers) -> list[Pair]:
    """The header block of a response that goes downstream."""
    return [_STATUSES[status], *headers.pairs]


def status_of(pairs: list[Pair]) -> int:
    """Of a response that the engine has checked."""
    return int(pairs[0][1])


def block_size(pairs: list[Pair]) -> int:
    """What the fields of a block measure before they are compressed, 3 added for each as for a line of HTTP/1."""
    return sum([len(name) + len(value) + 3 for name, value in pairs])
