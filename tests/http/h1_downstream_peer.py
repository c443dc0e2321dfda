"""The proxy's end of a downstream HTTP/1 connection, and who is at the other end of it."""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.http.codec import CodecOptions
from pyproxy.http.engines import new_request_decoder
from pyproxy.http.h1_downstream import H1Downstream
from pyproxy.http.h1_options import H1DownstreamOptions
from pyproxy.network.cork import Cork
from pyproxy.tasks import Deadlines
from tests.http.handlers import Acceptor, Handler
from tests.support.loop import ManualLoop
from tests.support.transport import ManualTransport


@dataclass
class Peer:
    """A downstream and the proxy's end of its connection."""

    loop: ManualLoop
    acceptor: Acceptor
    connection: H1Downstream
    transport: ManualTransport

    def send(self, data: bytes) -> None:
        self.transport.deliver(data)
        self.loop.run_soon()
        self.transport.settle()

    def read(self) -> bytes:
        self.loop.run_soon()
        return self.transport.read()

    def wait(self, seconds: float) -> None:
        self.loop.advance(seconds)
        self.transport.settle()

    @property
    def handler(self) -> Handler:
        return self.acceptor.handlers[-1]

    @property
    def told_the_end(self) -> bool:
        """Nothing more will be sent: the peer may close."""
        self.loop.run_soon()
        return self.transport.ended

    @property
    def closed(self) -> bool:
        self.loop.run_soon()
        self.transport.settle()
        return self.transport.lost


def connect(
    loop: ManualLoop, options: H1DownstreamOptions | None = None, limit: float = float("inf"), **codec: bool
) -> Peer:
    acceptor = Acceptor()
    options = options or H1DownstreamOptions(delayed_close=Deadlines(loop, 1.0))
    connection = H1Downstream(Cork(loop), new_request_decoder(CodecOptions(**codec)), acceptor, options)
    return Peer(loop, acceptor, connection, ManualTransport(connection, limit))
