"""What goes wrong with a downstream, as errors: it broke the protocol, left, or was silent for too long."""

from __future__ import annotations

from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.codec import CodecError

_REASONS = {
    408: b"request header timeout",
    426: b"Upgrade Required",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
}


def broken(error: CodecError) -> ProxyError:
    """A request that could not be read; 408 is a head that did not come in time."""
    flag = None if error.status == 408 else ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR
    body = _REASONS.get(error.status, b"Bad Request")
    return ProxyError(flag, Source.DOWNSTREAM, error.status, error.details, body=body)


def gone() -> ProxyError:
    """Nobody is there to answer."""
    return ProxyError(
        ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION, Source.DOWNSTREAM, 0, "downstream_remote_disconnect"
    )


def stream_idle(status: int) -> ProxyError:
    """Nothing was received or sent for too long."""
    return ProxyError(
        ResponseFlag.STREAM_IDLE_TIMEOUT, Source.LOCAL, status, "stream_idle_timeout", body=b"stream timeout"
    )
