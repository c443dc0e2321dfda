"""gRPC calls to a collector, with grpclib on a connection that the destination makes."""

from __future__ import annotations

from typing import Any

from grpclib.client import Channel, StreamUnaryMethod, UnaryUnaryMethod
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from pyproxy.server.exporting.destination import Destination

GRPC_ERRORS = (GRPCError, ProtocolError, StreamTerminatedError)


class _Channel(Channel):
    """grpclib's channel, over our own connections: they know several hosts, Unix sockets and whom to trust."""

    def __init__(self, destination: Destination, authority: str) -> None:
        super().__init__("127.0.0.1", 0)
        self._authority = authority
        self._destination = destination

    async def _create_connection(self) -> Any:
        return await self._destination.connect(self._protocol_factory, "h2")


class GrpcSender:
    """One collector. Headers are metadata of every call. The channel is made on the loop that calls."""

    def __init__(self, destination: Destination, authority: str, headers: tuple[tuple[str, str], ...]) -> None:
        self._destination = destination
        self._authority = authority
        self._headers = list(headers)
        self._made: _Channel | None = None

    @property
    def _channel(self) -> _Channel:
        if self._made is None:
            self._made = _Channel(self._destination, self._authority)
        return self._made

    async def call(self, method: str, request: Any, reply_type: type[Any], seconds: float) -> Any:
        """One unary call. Raises GRPC_ERRORS, TimeoutError, OSError and what `Destination.connect` does."""
        unary: Any = UnaryUnaryMethod(self._channel, method, type(request), reply_type)
        return await unary(request, timeout=seconds, metadata=self._headers)

    def stream(self, method: str, request_type: type[Any], reply_type: type[Any]) -> Any:
        """A call with a stream of requests: an async context manager, see grpclib's Stream."""
        many: Any = StreamUnaryMethod(self._channel, method, request_type, reply_type)
        return many.open(metadata=self._headers)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
