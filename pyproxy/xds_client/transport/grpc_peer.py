"""One gRPC peer: streams of raw messages, on grpclib."""

from __future__ import annotations

import struct
from typing import Any, Final, cast

from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.protocol import H2Protocol
from h2.exceptions import H2Error
from multidict import MultiDict

from pyproxy.config.config_source import CallCredential, GrpcServiceConfig
from pyproxy.xds_client.transport.dialer import Dialer, NoEndpoint

LONGEST_MESSAGE: Final = 512 * 1024 * 1024
"""Bytes, where the configuration sets no limit: a length beyond this is garbage, not a configuration."""

_WINDOW: Final = 16 * 1024 * 1024
_HEAD: Final = struct.Struct(">?I")


class TooLong(Exception):
    """A message of a length that is not allowed."""


FAILURES: Final[tuple[type[Exception], ...]] = (
    GRPCError,
    ProtocolError,
    StreamTerminatedError,
    H2Error,
    TooLong,
    OSError,
    NoEndpoint,
)
"""What a stream may end with, other than by being cancelled."""


class _Bytes(CodecBase):
    """Messages as they are: the protocol reads them itself."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return cast(bytes, message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class MessageStream(Stream[bytes, bytes]):
    """Refuses messages that are too long before it reads them."""

    longest: int = LONGEST_MESSAGE

    async def recv_message(self) -> bytes | None:
        """The next message, None at the end of the stream."""
        if not self._recv_initial_metadata_done:
            await self.recv_initial_metadata()
        with self._wrapper:
            head = await self._stream.recv_data(_HEAD.size)
            if not head:
                return None
            compressed, length = _HEAD.unpack(head)
            if compressed or length > self.longest:
                raise TooLong(f"a message of {length} bytes{', compressed' if compressed else ''}")
            return await self._stream.recv_data(length)


class _Channel(Channel):
    """Connections are made by a dialer, which knows endpoints and TLS."""

    def __init__(self, dialer: Dialer, authority: str, config: Configuration) -> None:
        super().__init__(codec=_Bytes(), config=config)
        self._dialer = dialer
        self._scheme = "https" if dialer.secure else "http"
        self._authority = authority

    async def _create_connection(self) -> H2Protocol:
        return await self._dialer.dial(self._protocol_factory, ("h2",))


class GrpcPeer:
    """A service of the configuration. `keepalive` is (seconds between pings, seconds that an answer may take)."""

    def __init__(
        self, service: GrpcServiceConfig, dialer: Dialer, keepalive: tuple[float, float] | None = None
    ) -> None:
        self.name = dialer.name
        self._service = service
        self._dialer = dialer
        self._config = _configuration(keepalive)
        self._channel: _Channel | None = None

    def open(self, path: str) -> MessageStream:
        """A stream of one method, to be used in `async with`. The connection is made when it is first sent on."""
        if self._channel is None:
            authority = self._service.authority or self._service.cluster or self.name
            self._channel = _Channel(self._dialer, authority, self._config)
        channel = self._channel
        stream = MessageStream(
            channel,
            path,
            self._metadata(),
            Cardinality.STREAM_STREAM,
            bytes,
            bytes,
            codec=_Bytes(),
            status_details_codec=None,
            dispatch=channel.__dispatch__,
        )
        if self._service.max_receive_message_length is not None:
            stream.longest = self._service.max_receive_message_length
        return stream

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _metadata(self) -> Any:
        found: MultiDict[str | bytes] = MultiDict()
        for name, value in self._service.metadata:
            found.add(name, value)
        google = self._service.google
        for credential in () if google is None else google.credentials:
            found.add(credential.header, credential.prefix + read_token(credential))
        return found


def read_token(credential: CallCredential) -> str:
    """The token as it is now. Raises OSError where its file cannot be read."""
    if not credential.file:
        return credential.token
    with open(credential.file, encoding="latin-1") as file:  # noqa: PTH123
        return file.read().strip()


def _configuration(keepalive: tuple[float, float] | None) -> Configuration:
    if keepalive is None:
        return Configuration(http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW)
    interval, patience = keepalive
    return Configuration(
        http2_connection_window_size=_WINDOW,
        http2_stream_window_size=_WINDOW,
        _keepalive_time=interval,
        _keepalive_timeout=patience,
        _keepalive_permit_without_calls=True,
        _http2_max_pings_without_data=0,
        _http2_min_sent_ping_interval_without_data=interval / 2,
    )
