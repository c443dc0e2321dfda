"""What is said of a try over HTTP/2 that failed, in the words of Envoy's local replies."""

from __future__ import annotations

from typing import Final

from pyproxy.errors import ProxyError, ResponseFlag, Retriable, Source
from pyproxy.http.h2_session import PROTOCOL_ERROR, REFUSED_STREAM

_BEFORE: Final = b"upstream connect error or disconnect/reset before headers. reset reason: "


def failure(
    flag: ResponseFlag, status: int, why: str, *, after: bool, retriable: Retriable = Retriable.NEVER
) -> ProxyError:
    """`why` in the words of Envoy's local reply; its details have underscores."""
    when = "after" if after else "before"
    return ProxyError(
        flag,
        Source.UPSTREAM,
        status,
        f"upstream_reset_{when}_response_started{{{why.replace(' ', '_')}}}",
        body=_BEFORE + why.encode(),
        retriable=Retriable.NEVER if after else retriable,
    )


def terminated(*, after: bool) -> ProxyError:
    return failure(ResponseFlag.UPSTREAM_CONNECTION_TERMINATION, 503, "connection termination", after=after)


def reset(code: int, *, after: bool) -> ProxyError:
    if code == PROTOCOL_ERROR:
        return protocol_failure(after=after)
    if code == REFUSED_STREAM:
        return refused(after=after)
    return failure(ResponseFlag.UPSTREAM_REMOTE_RESET, 503, "remote reset", after=after)


def refused(*, after: bool = False) -> ProxyError:
    """The upstream has not begun with it, so whatever it was may be sent again (RFC 9113 8.7)."""
    return failure(
        ResponseFlag.UPSTREAM_REMOTE_RESET,
        503,
        "remote refused stream reset",
        after=after,
        retriable=Retriable.ALWAYS,
    )


def protocol_failure(*, after: bool) -> ProxyError:
    return failure(ResponseFlag.UPSTREAM_PROTOCOL_ERROR, 502, "protocol error", after=after)
