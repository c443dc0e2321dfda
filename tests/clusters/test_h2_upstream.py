"""Requests on upstream HTTP/2 connections, with upstreams whose every frame is the test's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pyproxy.config.cluster import Thresholds, UpstreamHttpOptions, UpstreamProtocol
from pyproxy.config.http2 import H2Keepalive, H2Options
from pyproxy.errors import Retriable
from pyproxy.http.body import Body
from pyproxy.http.h2_session import CANCEL, INTERNAL_ERROR, PROTOCOL_ERROR, REFUSED_STREAM
from tests.http.h2_peer import OK, Wire, data, goaway, ping, reset, settings
from tests.support.transport import ManualTransport
from tests.support.upstreams import Asked, Stage, cluster_of

Pair = tuple[bytes, bytes]
MakeStage = Callable[..., Stage]
HTTP2 = UpstreamProtocol.HTTP2


@pytest.fixture
def make_stage() -> Iterator[MakeStage]:
    made: list[Stage] = []

    def make(http2: H2Options | None = None, protocol: UpstreamProtocol = HTTP2, **http: object) -> Stage:
        fields = {name: http.pop(name) for name in ("thresholds",) if name in http}
        options = UpstreamHttpOptions(protocol=protocol, http2=http2 or H2Options(), **http)  # type: ignore[arg-type]
        made.append(Stage(cluster_of(1, http=options, **fields)))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


class Upstream(Wire):
    """The other end of one connection."""

    def __init__(self, stage: Stage, most: int = 1000) -> None:
        super().__init__()
        self.stage = stage
        self.transport: ManualTransport = stage.accept()
        self.say(settings({3: most}), settings(ack=True))

    def say(self, *parts: bytes) -> None:
        self.stage.say(self.transport, b"".join(parts))
        self.read()

    def read(self) -> None:
        self.take(self.transport.read())
        self.stage.settle()
        self.take(self.transport.read())

    def answer(self, stream: int, body: bytes = b"ok") -> None:
        self.say(self.head(stream, OK, ended=False), data(stream, body, ended=True))

    @property
    def open(self) -> bool:
        self.stage.settle()
        return not (self.transport.closing or self.transport.lost)


def told(asked: Asked) -> tuple[int, str]:
    assert asked.error is not None
    return asked.error.status, asked.error.flag.short if asked.error.flag else "-"


def test_many_requests_on_one_connection(make_stage: MakeStage) -> None:
    stage = make_stage()
    asked = [stage.ask() for _ in range(20)]
    upstream = Upstream(stage)
    assert stage.loop.dials == []
    assert sorted(upstream.headers) == list(range(1, 41, 2))
    assert upstream.headers[1] == [
        [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"),
         (b"x-envoy-expected-rq-timeout-ms", b"15000")]
    ]  # fmt: skip
    for stream in reversed(range(1, 41, 2)):
        upstream.answer(stream, b"%d" % stream)
    assert [one.data for one in asked] == [b"%d" % stream for stream in range(1, 41, 2)]
    assert stage.in_use() == (0, 0, 1)
    assert stage.stat("upstream_cx_http2_total") == 1


def test_no_more_than_the_upstream_takes(make_stage: MakeStage) -> None:
    stage = make_stage()
    first = stage.ask()
    upstream = Upstream(stage, most=2)
    asked = [first, stage.ask(), stage.ask()]
    upstream.read()
    assert sorted(upstream.headers) == [1, 3]
    assert len(stage.loop.dials) == 1
    upstream.answer(1)
    upstream.read()
    assert sorted(upstream.headers) == [1, 3, 5]
    upstream.answer(5)
    assert [one.ended for one in asked] == [True, False, True]


def test_one_connection_where_no_more_are_allowed(make_stage: MakeStage) -> None:
    stage = make_stage(H2Options(max_concurrent_streams=1), thresholds=(Thresholds(max_connections=1), Thresholds()))
    asked = [stage.ask() for _ in range(3)]
    upstream = Upstream(stage)
    assert stage.loop.dials == []
    for stream in (1, 3, 5):
        assert max(upstream.headers) == stream
        upstream.answer(stream)
    assert all(one.ended for one in asked)


def test_a_body_both_ways_with_trailers(make_stage: MakeStage) -> None:
    stage = make_stage()
    body = Body()
    asked = stage.ask("POST", body)
    upstream = Upstream(stage)
    stage.do(lambda: body.feed(b"abc"))
    upstream.read()
    assert upstream.data[1] == b"abc"
    stage.do(lambda: body.end([(b"t", b"1")]))
    upstream.read()
    assert upstream.headers[1][1:] == [[(b"t", b"1")]]
    upstream.say(upstream.head(1, [(b":status", b"103")], ended=False), upstream.head(1, OK, ended=False))
    upstream.say(data(1, b"xyz"))
    assert (asked.data, asked.ended) == (b"xyz", False)
    upstream.say(upstream.head(1, [(b"grpc-status", b"0")]))
    assert asked.ended
    assert asked.response is not None
    assert asked.response.body is not None
    assert asked.response.body.trailers == [(b"grpc-status", b"0")]
    assert stage.in_use() == (0, 0, 1)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(REFUSED_STREAM, (503, "UR")), (INTERNAL_ERROR, (503, "UR")), (PROTOCOL_ERROR, (502, "UPE"))],
)
def test_streams_that_the_upstream_resets(make_stage: MakeStage, code: int, expected: tuple[int, str]) -> None:
    stage = make_stage()
    asked, other = stage.ask("POST", Body()), stage.ask()
    upstream = Upstream(stage)
    upstream.say(reset(1, code))
    assert told(asked) == expected
    upstream.answer(3)
    assert other.ended
    assert upstream.open


def test_a_response_that_breaks_off(make_stage: MakeStage) -> None:
    stage = make_stage()
    asked = stage.ask()
    upstream = Upstream(stage)
    upstream.say(upstream.head(1, OK, ended=False), data(1, b"x"), reset(1, INTERNAL_ERROR))
    assert asked.broken
    assert stage.in_use() == (0, 0, 1)


def test_a_malformed_response_ends_its_stream_only(make_stage: MakeStage) -> None:
    stage = make_stage()
    asked, other = stage.ask(), stage.ask()
    upstream = Upstream(stage)
    upstream.say(upstream.head(1, [*OK, (b"x", b"a\nb")], ended=False))
    assert told(asked) == (502, "UPE")
    upstream.answer(3)
    assert other.ended
    assert stage.stat("upstream_cx_protocol_error") == 1


def test_an_upstream_that_does_not_speak_http2(make_stage: MakeStage) -> None:
    stage = make_stage()
    asked = stage.ask()
    transport = stage.accept()
    stage.say(transport, b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    assert told(asked) in ((502, "UPE"), (503, "UC"))
    assert stage.in_use() == (0, 0, 0)


def test_an_upstream_that_goes(make_stage: MakeStage) -> None:
    """What it has begun with goes on; what it has not may be sent again; new requests go elsewhere."""
    stage = make_stage()
    first, second = stage.ask(), stage.ask("POST", Body())
    upstream = Upstream(stage)
    upstream.say(goaway(1))
    assert second.error is None or second.error.retriable is Retriable.ALWAYS
    third = stage.ask()
    assert len(stage.loop.dials) == 1
    upstream.answer(1)
    assert first.ended
    assert not upstream.open
    Upstream(stage).answer(1)
    assert third.ended or third.error is None


def test_a_connection_that_breaks(make_stage: MakeStage) -> None:
    stage = make_stage()
    asked = [stage.ask("POST", Body()), stage.ask("POST", Body())]
    upstream = Upstream(stage)
    stage.reset(upstream.transport)
    assert [told(one) for one in asked] == [(503, "UC")] * 2
    assert stage.in_use() == (0, 0, 0)


def test_a_downstream_that_goes(make_stage: MakeStage) -> None:
    stage = make_stage()
    asked, other = stage.ask(), stage.ask()
    upstream = Upstream(stage)
    stage.do(asked.leave)
    upstream.read()
    assert upstream.resets() == [(1, CANCEL)]
    upstream.answer(3)
    assert other.ended
    assert stage.in_use() == (0, 0, 1)


def test_an_answer_that_does_not_wait_for_the_request(make_stage: MakeStage) -> None:
    stage = make_stage()
    body = Body()
    asked = stage.ask("POST", body)
    upstream = Upstream(stage)
    upstream.answer(1)
    assert asked.ended
    assert upstream.resets() == [(1, 0)]
    stage.do(lambda: body.feed(b"late"))
    assert upstream.open


def test_an_upstream_that_falls_behind(make_stage: MakeStage) -> None:
    stage = make_stage()
    body = Body()
    stage.ask("POST", body)
    upstream = Upstream(stage)
    stage.do(lambda: body.feed(b"x" * 200_000))
    stage.do(lambda: body.feed(b"x" * 200_000))
    upstream.read()
    assert len(upstream.data[1]) == 65_535
    assert "held" in repr(body)


def test_requests_that_a_connection_may_carry(make_stage: MakeStage) -> None:
    stage = make_stage(max_requests_per_connection=2)
    asked = [stage.ask(), stage.ask()]
    upstream = Upstream(stage)
    third = stage.ask()
    assert len(stage.loop.dials) == 1
    upstream.answer(1)
    assert upstream.open
    upstream.answer(3)
    assert not upstream.open
    assert all(one.ended for one in asked)
    Upstream(stage).answer(1)
    assert third.ended


def test_a_connection_that_is_not_used(make_stage: MakeStage) -> None:
    stage = make_stage(idle_timeout=10.0)
    stage.ask()
    upstream = Upstream(stage)
    stage.wait(20)
    assert upstream.open
    upstream.answer(1)
    stage.wait(10.1)
    assert upstream.open or stage.stat("upstream_cx_idle_timeout") == 1
    stage.wait(10.1)
    assert not upstream.open
    assert stage.in_use() == (0, 0, 0)


def test_an_upstream_that_is_dead(make_stage: MakeStage) -> None:
    stage = make_stage(H2Options(keepalive=H2Keepalive(interval=5.0, timeout=1.0, jitter=0.0)))
    asked = stage.ask("POST", Body())
    upstream = Upstream(stage)
    stage.wait(5.1)
    upstream.read()
    assert upstream.names()[-1] == "Ping"
    upstream.say(ping(b"pyproxy?", ack=True))
    stage.wait(5.1)
    upstream.read()
    assert upstream.names()[-1] == "Ping"
    stage.wait(1.1)
    assert told(asked) == (503, "UC")
    assert stage.in_use() == (0, 0, 0)


def test_a_host_that_leaves(make_stage: MakeStage) -> None:
    stage = make_stage()
    asked = stage.ask()
    upstream = Upstream(stage)
    stage.do(stage.cluster.retire)
    assert upstream.open
    upstream.answer(1)
    assert asked.ended
    assert not upstream.open


def test_each_goes_on_as_it_came(make_stage: MakeStage) -> None:
    stage = make_stage(protocol=UpstreamProtocol.DOWNSTREAM)
    asked = stage.ask()
    transport = stage.accept()
    assert transport.read().startswith(b"GET / HTTP/1.1\r\n")
    stage.say(transport, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert asked.ended
    assert stage.in_use() == (0, 0, 1)
