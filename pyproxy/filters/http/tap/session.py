"""One exchange that may be recorded: what has come of it, and whether it is wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from pyproxy import clock
from pyproxy.config.tap import TapConfig, TapPart
from pyproxy.filters.http.tap.matcher import PatternSearch, TapMatcher
from pyproxy.http.body import Body, Trailers
from pyproxy.http.message import Headers, Pair, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.http.watched import Watched

if TYPE_CHECKING:
    from pyproxy.filters.http.tap.config import TapFilterConfig


_NO_INFO: Final = StreamInfo(0.0, 0.0, ConnectionInfo())


class Submit(Protocol):
    def __call__(self, tap: TapConfig, trace: dict[str, object], *, first: bool) -> None: ...


class TapSession:
    """Belongs to one request and one tap filter. Headers are matched as they pass the filter, and recorded as they
    are in the end, when other filters have changed them (Envoy); segments show them as they pass."""

    def __init__(
        self, config: TapFilterConfig, tap: TapConfig, matcher: TapMatcher, submit: Submit, request: Request
    ) -> None:
        self._config = config
        self._tap = tap
        self._matcher = matcher
        self._submit = submit
        self._known = matcher.begin()
        self._searches = {number: (part, PatternSearch(rule)) for part, number, rule in matcher.bodies}
        self._number = clock.rng.getrandbits(64)
        self._started = False
        self._waiting: list[tuple[TapPart, Any, bool]] = []
        """Segments of an exchange of which is not known yet whether it is wanted."""
        self._asked = Recorded(tap.rx)
        self._answered = Recorded(tap.tx)
        self._answer_time = 0.0
        matcher.look(TapPart.REQUEST_HEADERS, request, self._known)
        self._add(TapPart.REQUEST_HEADERS, _texts(_request_pairs(request)))

    # What comes

    def watch_request(self, body: Body) -> Body:
        return _Watched(body, self, self._asked, TapPart.REQUEST_BODY, TapPart.REQUEST_TRAILERS).begin()

    def watch_response(self, body: Body) -> Body:
        return _Watched(body, self, self._answered, TapPart.RESPONSE_BODY, TapPart.RESPONSE_TRAILERS).begin()

    def on_response(self, response: Response) -> None:
        """Its headers have come."""
        self._answer_time = clock.wall()
        pairs = _response_pairs(response)
        self._look(TapPart.RESPONSE_HEADERS, pairs)
        self._add(TapPart.RESPONSE_HEADERS, _texts(pairs))

    def on_body(self, part: TapPart, recorded: Recorded, chunk: bytes) -> None:
        for where, search in self._searches.values():
            if where is part:
                search.feed(chunk)
        self._settle_bodies()
        if self._tap.streaming and self._started:
            kept = chunk[: recorded.most]
            self._add(part, kept.decode("latin-1"), truncated=len(kept) < len(chunk))
            return
        first = not recorded.size
        recorded.add(chunk)
        if self._tap.streaming and first:
            self._add(part, recorded)

    def on_trailers(self, part: TapPart, recorded: Recorded, trailers: Trailers | None) -> None:
        pairs = trailers or []
        recorded.trailers = pairs
        self._look(part, pairs)
        if pairs:
            self._add(part, _texts(pairs))

    def finish(self, request: Request, response: Response | None) -> None:
        """The exchange is over."""
        for part, number, _ in self._matcher.headers:
            if self._known[number] is None and part is not TapPart.REQUEST_HEADERS:
                self._known[number] = False
        for number, (_, search) in self._searches.items():
            self._known[number] = search.found
        if not self._matcher.evaluate(self._known):
            return
        if self._tap.streaming:
            self._start()
        else:
            self._submit(self._tap, self._trace(request, response), first=True)

    def _look(self, part: TapPart, pairs: list[Pair]) -> None:
        seen = Request(b"", b"", b"", Headers(pairs), _NO_INFO)
        self._matcher.look(part, seen, self._known)

    def _settle_bodies(self) -> None:
        for number, (_, search) in self._searches.items():
            if search.found:
                self._known[number] = True

    # What goes out

    def _add(self, part: TapPart, value: Any, *, truncated: bool = False) -> None:
        if not self._tap.streaming:
            return
        self._waiting.append((part, value, truncated))
        if self._started or self._matcher.evaluate(self._known):
            self._start()

    def _start(self) -> None:
        """It is wanted: what waits goes out, and what comes."""
        waiting, self._waiting = self._waiting, []
        for part, value, truncated in waiting:
            if isinstance(value, Recorded):
                text, truncated = value.data.decode("latin-1"), value.truncated
            else:
                text = value
            trace: dict[str, object] = {
                "id": self._number,
                "segment": part.value,
                "value": text,
                "truncated": truncated,
            }
            self._submit(self._tap, trace, first=not self._started)
            self._started = True

    def _trace(self, request: Request, response: Response | None) -> dict[str, object]:
        config, info = self._config, request.info
        trace: dict[str, object] = {
            "id": self._number,
            "request": self._asked.as_message(_request_pairs(request), info.start_wall if config.times else 0.0),
            "response": None,
        }
        if response is not None:
            answered = self._answer_time if config.times else 0.0
            trace["response"] = self._answered.as_message(_response_pairs(response), answered)
        if config.downstream:
            trace["downstream"] = (info.connection.local, info.connection.remote)
        upstream = info.upstream
        if config.upstream:
            trace["upstream"] = (upstream.local, _address(upstream.host_address))
        return trace


class Recorded:
    """The beginning of one body."""

    __slots__ = ("data", "most", "size", "trailers")

    def __init__(self, most: int) -> None:
        self.most = most
        self.data = bytearray()
        self.size = 0
        self.trailers: list[Pair] = []

    @property
    def truncated(self) -> bool:
        return self.size > len(self.data)

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if len(self.data) < self.most:
            self.data += chunk[: self.most - len(self.data)]

    def as_message(self, pairs: list[Pair], when: float) -> dict[str, object]:
        return {
            "headers": _texts(pairs),
            "body": self.data.decode("latin-1") if self.size else None,
            "truncated": self.truncated,
            "trailers": _texts(self.trailers),
            "time": when,
        }


class _Watched(Watched):
    """A body on its way through the filter."""

    def __init__(self, source: Body, session: TapSession, recorded: Recorded, part: TapPart, trailers: TapPart) -> None:
        super().__init__(source)
        self._session = session
        self._recorded = recorded
        self._part = part
        self._trailers = trailers

    def on_data(self, chunk: bytes) -> None:
        self._session.on_body(self._part, self._recorded, chunk)
        self.body.feed(chunk)

    def on_end(self, trailers: Trailers | None) -> None:
        self._session.on_trailers(self._trailers, self._recorded, trailers)
        self.body.end(trailers)


def _request_pairs(request: Request) -> list[Pair]:
    """With what HTTP/2 has as pseudo-headers, in the order in which Envoy shows them."""
    named = (
        (b":authority", request.authority),
        (b":path", request.path),
        (b":method", request.method),
        (b":scheme", request.scheme),
    )
    return [*(pair for pair in named if pair[1]), *request.headers.pairs]


def _response_pairs(response: Response) -> list[Pair]:
    return [(b":status", b"%d" % response.status), *response.headers.pairs]


def _texts(pairs: Iterable[Pair]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]


def _address(text: str) -> tuple[str, int]:
    """`ip:port`, or the path of a pipe."""
    if text.startswith(("/", "@")):
        return text, 0
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port) if port.isdecimal() else 0
