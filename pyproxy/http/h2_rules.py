"""Rules of HTTP/2 messages that libnghttp2 enforces by itself and the h2 package does not, or not per stream.

RFC 9113 8.2 and 8.3, RFC 8441. Pure functions over the pairs of a header block.
"""

from __future__ import annotations

import re
from typing import Final

from pyproxy.http.h2_session import forbidden
from pyproxy.http.message import Pair

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE: Final = re.compile(rb"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*")
_PATH: Final = re.compile(rb"[\x21-\x7e\x80-\xff]*")
_AUTHORITY: Final = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:@%\[\]]*")
_STATUS: Final = re.compile(rb"[1-9][0-9][0-9]")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

_REQUEST: Final = {b":method": _METHOD, b":scheme": _SCHEME, b":path": _PATH, b":authority": _AUTHORITY}
_ONCE: Final = frozenset((b"host", b"content-length"))


def request_is_sound(pairs: list[Pair], *, connect: bool) -> bool:
    """`connect`: whether extended CONNECT was offered."""
    pseudo: dict[bytes, bytes] = {}
    rest = _pseudo(pairs, pseudo)
    if rest is None:
        return False
    protocol = pseudo.pop(b":protocol", None)
    if any(name not in _REQUEST or not _REQUEST[name].fullmatch(value) for name, value in pseudo.items()):
        return False
    if b":method" not in pseudo:
        return False
    if protocol is not None and not (connect and pseudo[b":method"] == b"CONNECT"):
        return False
    if pseudo[b":method"] == b"CONNECT" and protocol is None:
        return b":scheme" not in pseudo and b":path" not in pseudo and bool(pseudo.get(b":authority")) and _sound(rest)
    if b":scheme" not in pseudo or not pseudo.get(b":path"):
        return False
    path = pseudo[b":path"]
    if pseudo[b":scheme"].lower() in (b"http", b"https"):
        if path[:1] != b"/" and not (path == b"*" and pseudo[b":method"] == b"OPTIONS"):
            return False
        if not (pseudo.get(b":authority") or any(name == b"host" for name, _ in rest)):
            return False
    return _sound(rest)


def response_is_sound(pairs: list[Pair]) -> bool:
    """Of a final or an interim response."""
    pseudo: dict[bytes, bytes] = {}
    rest = _pseudo(pairs, pseudo)
    if rest is None or list(pseudo) != [b":status"] or not _STATUS.fullmatch(pseudo[b":status"]):
        return False
    return pseudo[b":status"] != b"101" and _sound(rest)


def trailers_are_sound(pairs: list[Pair]) -> bool:
    return _sound(pairs)


def _pseudo(pairs: list[Pair], found: dict[bytes, bytes]) -> list[Pair] | None:
    """Fills in the pseudo-header fields and gives the others; None where one stands twice."""
    count = 0
    for name, value in pairs:
        if name[:1] != b":":
            break
        if name in found:
            return None
        found[name] = value
        count += 1
    return pairs[count:]


def _sound(pairs: list[Pair]) -> bool:
    seen: set[bytes] = set()
    for name, value in pairs:
        if not _NAME.fullmatch(name) or forbidden(name) or not _VALUE.fullmatch(value):
            return False
        if name == b"te" and value.lower() != b"trailers":
            return False
        if name in _ONCE:
            if name in seen or (name == b"content-length" and not _LENGTH.fullmatch(value)):
                return False
            seen.add(name)
    return True
