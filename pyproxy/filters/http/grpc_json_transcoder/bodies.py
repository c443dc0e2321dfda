"""Bodies that are translated while they come: elements of a request, and the messages of an answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final

from pyproxy.errors import ProxyError, Source
from pyproxy.http.body import Body, Trailers
from pyproxy.http.drive import Waiter
from pyproxy.http.grpc_frames import COMPRESSED, MessageReader, frame
from pyproxy.http.through import Through

Translate = Callable[[bytes], bytes]

_FAILED: Final = "grpc_json_transcode_failure"
REQUEST_TOO_LARGE: Final = ProxyError(
    None,
    Source.DOWNSTREAM,
    413,
    f"{_FAILED}{{request_buffer_size_limit_reached}}",
    body=b"Request rejected because the transcoder's internal buffer size exceeds the configured limit.",
)
RESPONSE_TOO_LARGE: Final = ProxyError(
    None,
    Source.UPSTREAM,
    500,
    f"{_FAILED}{{response_buffer_size_limit_reached}}",
    body=b"Response not transcoded because the transcoder's internal buffer size exceeds the configured limit.",
)


def bad_request(code: str, message: str, status: int = 400, *, early: bool = False) -> ProxyError:
    """`early`: it has no body, or nobody has looked at it."""
    details = f"{'early_' if early else ''}{_FAILED}{{{code}}}"
    return ProxyError(None, Source.DOWNSTREAM, status, details, body=message.encode("utf-8", "replace"))


def bad_response(code: str, message: str) -> ProxyError:
    return ProxyError(None, Source.UPSTREAM, 500, f"{_FAILED}{{{code}}}", body=message.encode("utf-8", "replace"))


class Elements(Through):
    """The request of a call that streams: a JSON array, of which each element becomes a message."""

    __slots__ = ("_limit", "_reader", "_translate")

    def __init__(self, source: Body, reader: Any, translate: Translate, limit: int) -> None:
        """`reader` cuts elements out (`transcoding.json_stream.ArrayReader`); both may raise a ProxyError."""
        super().__init__(source)
        self._reader = reader
        self._translate = translate
        self._limit = limit

    def on_data(self, chunk: bytes) -> None:
        try:
            made = [frame(self._translate(element)) for element in self._reader.read(chunk)]
        except ProxyError as error:
            self._break(error)
            return
        self.body.feed(b"".join(made))
        if self._reader.waiting > self._limit:
            self._break(REQUEST_TOO_LARGE)

    def on_end(self, trailers: Trailers | None) -> None:
        try:
            self._reader.end()
        except ProxyError as error:
            self._break(error)
            return
        self.body.end(trailers)

    def _break(self, error: ProxyError) -> None:
        self.source.detach()
        self.body.abort(error)


class Rows(Through):
    """The answer of a call that streams: `before` stands before the first one, `between` before the others, `after`
    behind each, `last` at the end. `nothing` is all of an answer without messages."""

    __slots__ = ("_after", "_before", "_between", "_last", "_limit", "_nothing", "_reader", "_rows", "_translate")

    def __init__(self, source: Body, translate: Translate, limit: int) -> None:
        super().__init__(source)
        self._translate = translate
        self._limit = limit
        self._reader = MessageReader()
        self._rows = 0
        self._before, self._between, self._after, self._last = b"[", b",", b"", b"]"
        self._nothing: Callable[[Trailers | None], bytes] | None = None

    def write_as(self, before: bytes, between: bytes, after: bytes, last: bytes) -> None:
        self._before, self._between, self._after, self._last = before, between, after, last

    def on_nothing(self, tell: Callable[[Trailers | None], bytes]) -> None:
        """What to write where there are no messages; empty for what is usual."""
        self._nothing = tell

    def on_data(self, chunk: bytes) -> None:
        made: list[bytes] = []
        try:
            for flags, message in self._reader.read(chunk):
                made += (self._between if self._rows else self._before, self._row(flags, message), self._after)
                self._rows += 1
        except ProxyError as error:
            self._break(error)
            return
        self.body.feed(b"".join(made))
        if self._reader.wrong:
            self._break(bad_response("INTERNAL", "the answer is no gRPC"))
        elif self._reader.rest > self._limit:
            self._break(RESPONSE_TOO_LARGE)

    def on_end(self, trailers: Trailers | None) -> None:
        if self._rows:
            self.body.feed(self._last)
        else:
            told = b"" if self._nothing is None else self._nothing(trailers)
            if told:
                self.body.feed(told)
            elif self._last:
                self.body.feed(self._before + self._last)
        self.body.end(trailers)

    def _row(self, flags: int, message: bytes) -> bytes:
        if flags & COMPRESSED:
            raise bad_response("INTERNAL", "the answer is compressed")
        return self._translate(message)

    def _break(self, error: ProxyError) -> None:
        self.source.cancel(error)
        self.body.abort(error)


class Beginning(Waiter):
    """Waits for the first message of an answer, which says of what type all of it is. Then `rest` is the whole body."""

    __slots__ = ("_chunks", "_error", "_limit", "_source", "ended", "first", "trailers")

    def __init__(self, source: Body, limit: int) -> None:
        super().__init__()
        self._source = source
        self._limit = limit
        self._chunks: list[bytes] = []
        self._error: ProxyError | None = None
        self.first: bytes | None = None
        self.ended = False
        self.trailers: Trailers | None = None
        source.pipe_to(self)

    def __await__(self) -> Generator[Any, None, None]:
        if not self.over:
            yield self
        if self._error is not None:
            raise self._error

    def rest(self) -> Body:
        """Everything, the first message included."""
        if self.ended:
            return Body.complete(b"".join(self._chunks), self.trailers)
        again = _Again(self._source, self._chunks)
        return again.begin()

    def on_data(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        found = MessageReader().read(b"".join(self._chunks))
        if found:
            self.first = found[0][1]
            self._source.hold()
            self.wake()
        elif sum(map(len, self._chunks)) > self._limit:
            self._error = RESPONSE_TOO_LARGE
            self._source.cancel(RESPONSE_TOO_LARGE)
            self.wake()

    def on_end(self, trailers: Trailers | None) -> None:
        self.ended = True
        self.trailers = trailers
        if not self.over:
            self.wake()

    def on_abort(self, error: ProxyError) -> None:
        self._error = error
        if not self.over:
            self.wake()


class _Again(Through):
    """What was read already, and then the rest."""

    __slots__ = ("_chunks",)

    def __init__(self, source: Body, chunks: list[bytes]) -> None:
        super().__init__(source)
        self._chunks = chunks

    def begin(self) -> Body:
        for chunk in self._chunks:
            self.body.feed(chunk)
        self.source.pipe_to(self)
        self.source.release()
        return self.body
