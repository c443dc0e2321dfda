"""Paths made canonical before anything matches on them (RFC 3986 6.2.2; Envoy: normalize_path, merge_slashes)."""

from __future__ import annotations

import re

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_SLASHES = re.compile(rb"/{2,}")
_ESCAPED_SLASH = re.compile(rb"(?i)%(2f|5c)")


def _split(path: bytes) -> tuple[bytes, bytes]:
    bare, mark, query = path.partition(b"?")
    return bare, mark + query


def normalize(path: bytes) -> bytes | None:
    """Dot segments removed, unreserved escapes decoded, backslashes turned. None where that cannot be done."""
    bare, query = _split(path)
    if b"%" in bare:
        if b"%00" in bare:
            return None
        bare = _ESCAPE.sub(_decode_unreserved, bare)
    bare = bare.replace(b"\\", b"/")
    if b"/." in bare:
        bare = _without_dots(bare)
    return bare + query


def _decode_unreserved(escape: re.Match[bytes]) -> bytes:
    value = int(escape[1], 16)
    return bytes((value,)) if value in _UNRESERVED else escape[0].upper()


def _without_dots(bare: bytes) -> bytes:
    kept: list[bytes] = []
    segments = bare.split(b"/")
    for position, segment in enumerate(segments):
        last = position == len(segments) - 1
        name = segment.partition(b";")[0] if segment[:1] == b"." else segment
        if name == b"..":
            if len(kept) > 1:
                kept.pop()
            if last:
                kept.append(b"")
        elif name == b".":
            if last:
                kept.append(b"")
        else:
            kept.append(segment)
    return b"/".join(kept) if len(kept) > 1 else b"/"


def merge_slashes(path: bytes) -> bytes:
    bare, query = _split(path)
    return _SLASHES.sub(b"/", bare) + query if b"//" in bare else path


def unescape_slashes(path: bytes) -> bytes:
    """`%2F` and `%5C` decoded. The same object where there are none."""
    bare, query = _split(path)
    if not _ESCAPED_SLASH.search(bare):
        return path
    return _ESCAPED_SLASH.sub(lambda m: b"/" if m[1].lower() == b"2f" else b"\\", bare) + query
