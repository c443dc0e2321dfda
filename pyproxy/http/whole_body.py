"""Waiting for the whole of a body, for filters that cannot work on pieces."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from pyproxy.errors import ProxyError, Source
from pyproxy.http.body import Body, Trailers
from pyproxy.http.drive import Waiter
from pyproxy.http.message import Request

REQUEST_TOO_LARGE: Final = ProxyError(
    None, Source.DOWNSTREAM, 413, "request_payload_too_large", body=b"Payload Too Large"
)
RESPONSE_TOO_LARGE: Final = ProxyError(
    None, Source.LOCAL, 500, "response_payload_too_large", body=b"Internal Server Error"
)


class WholeBody(Waiter):
    """`await` gives the bytes, and the trailers are in `trailers` then. Raises what the body broke off with.

    Of a body with more than `limit` bytes the beginning is given, or, where there is a `too_large`, the body is given
    up and that is raised.
    """

    __slots__ = ("_body", "_chunks", "_error", "_limit", "_size", "_too_large", "trailers")

    def __init__(self, body: Body, limit: int = 0, too_large: ProxyError | None = None) -> None:
        super().__init__()
        self._body = body
        self._chunks: list[bytes] = []
        self._error: ProxyError | None = None
        self._limit = limit
        self._size = 0
        self._too_large = too_large
        self.trailers: Trailers | None = None
        body.pipe_to(self)

    @staticmethod
    def of_request(request: Request, limit: int = 0, too_large: ProxyError | None = None) -> WholeBody:
        """Of a request that has one."""
        assert request.body is not None
        request.info.body_read = True
        return WholeBody(request.body, limit, too_large)

    def __await__(self) -> Generator[Any, None, bytes]:
        if not self.over:
            yield self
        if self._error is not None:
            raise self._error
        return b"".join(self._chunks)

    def on_data(self, chunk: bytes) -> None:
        if not self._limit or self._error is not None:
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > self._limit:
            if self._too_large is None:
                self._chunks = [b"".join(self._chunks)[: self._limit]]
                self._size = self._limit
                return
            self._chunks.clear()
            self._error = self._too_large
            self._body.detach()
            self.wake()

    def on_end(self, trailers: Trailers | None) -> None:
        self.trailers = trailers
        self.wake()

    def on_abort(self, error: ProxyError) -> None:
        self._chunks.clear()
        self._error = error
        self.wake()
