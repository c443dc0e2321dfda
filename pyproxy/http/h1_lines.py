"""Start lines and field lines that were read before: most of what peers send is what they sent a moment ago.

A line that was checked once need not be checked again. Each table maps whole lines to what they mean; a line that
is not in it is read by a strict pattern (RFC 9112 3, 4, 5), and remembered unless it is long, secret or unique.
A line that the pattern does not take is `NotPlain`: llhttp decides what to make of it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from pyproxy.http.message import Pair


class NotPlain(Exception):
    """A line that the fast way leaves to the full parser."""


_LONGEST_LINE: Final = 200

FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_REQUEST_LINE: Final = re.compile(rb"(GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS) (/[!\x24-\x7e]*) HTTP/1\.1")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")

_AUTHORITY: Final = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+;=%]+|\[([0-9A-Fa-f:.]+)\])(?::(\d{1,5}))?")
_HIGHEST_PORT: Final = 65535


def is_authority(value: bytes) -> bool:
    """RFC 3986 3.2 without user information, and without the comma, by which recipients join two hosts."""
    found = _AUTHORITY.fullmatch(value)
    if found is None:
        return False
    address, port = found[1], found[2]
    if port is not None and int(port) > _HIGHEST_PORT:
        return False
    if address is not None:
        try:
            ipaddress.IPv6Address(address.decode())
        except ValueError:
            return False
    return True


_FORGET: Final = frozenset(
    (
        b"authorization",
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
        b"x-request-id",
        b"traceparent",
        b"tracestate",
        b"baggage",
        b"x-b3-traceid",
        b"x-b3-spanid",
        b"x-b3-parentspanid",
        b"b3",
        b"etag",
        b"if-none-match",
        b"x-envoy-upstream-service-time",
    )
)
"""Secrets do not stay in memory; what is different each time would only fill the table."""


def read_field(line: bytes) -> tuple[Pair, bool]:
    """(name, value), and whether to remember it. A Host that is not an authority is not plain."""
    found = FIELD.fullmatch(line)
    if found is None:
        raise NotPlain
    name = found[1].lower()
    value = found[2].rstrip(b" \t")
    if name == b"host" and not is_authority(value):
        raise NotPlain
    return (name, value), len(line) <= _LONGEST_LINE and name not in _FORGET


def read_request_line(line: bytes) -> tuple[Pair, bool]:
    """(method, target). Queries are not remembered: they may be secret and are seldom the same."""
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise NotPlain
    return (found[1], found[2]), len(line) <= _LONGEST_LINE and b"?" not in line


def read_status_line(line: bytes) -> tuple[int, bool]:
    """The status."""
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise NotPlain
    return int(found[1]), len(line) <= _LONGEST_LINE
