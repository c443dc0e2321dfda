"""Control planes that are broken, hostile or away: what was learnt stays, and we stay well."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import replace
from typing import Any

import pytest

from pyproxy.config.config_source import ApiType, GoogleGrpcConfig
from pyproxy.telemetry.metrics import StatsStore
from tests.support.control_plane import CLUSTER, delta, message, sotw
from tests.support.ports import LOOPBACK
from tests.xds_client.clients import ADS, WaitingSink, api, at, client, cluster, control_plane
from tests.xds_client.talk import Sink, Talk


def _length(size: int) -> bytes:
    out = b""
    while size > 127:
        out += bytes((size & 127 | 128,))
        size >>= 7
    return out + bytes((size,))


@pytest.mark.parametrize("levels", [50, 5_000, 20_000])
def test_nesting_is_an_error_of_the_resource_and_not_of_ours(levels: int) -> None:
    talk, sink = Talk(), Sink()
    talk.subscribe(CLUSTER, sink, {"*"})
    talk.mux.connected()
    talk.put(sotw(CLUSTER, "1", "n1", message(CLUSTER, name="a")))
    talk.sent()
    response = sotw(CLUSTER, "2", "n2", message(CLUSTER, name="a"), message(CLUSTER, name="b"))
    response.resources[1].value = _struct_bomb(levels)
    talk.put(response)
    answer = talk.one()
    assert sink.applied.keys() >= {"a"}
    assert answer.HasField("error_detail") == (levels > 100)


def _struct_bomb(levels: int) -> bytes:
    """A Cluster with metadata: lists in lists."""
    value = b""
    for _ in range(levels // 2):
        listing = b"\x0a" + _length(len(value)) + value  # ListValue.values
        value = b"\x32" + _length(len(listing)) + listing  # Value.list_value
        if len(value) > 4_000_000:
            break
    entry = b"\x0a\x01k\x12" + _length(len(value)) + value  # Struct.fields entry
    struct = b"\x0a" + _length(len(entry)) + entry
    item = b"\x0a\x01n\x12" + _length(len(struct)) + struct  # Metadata.filter_metadata entry
    metadata = b"\x0a" + _length(len(item)) + item
    return b"\x0a\x01b" + b"\xca\x01" + _length(len(metadata)) + metadata


def test_truncated_and_random_bytes_never_raise_anything_else() -> None:
    import random

    from pyproxy.xds_client.protocol.mux import MalformedResponse

    rng = random.Random(7)
    whole = sotw(CLUSTER, "1", "n", message(CLUSTER, name="a"), message(CLUSTER, name="b")).SerializeToString()
    for api_type in (ApiType.GRPC, ApiType.DELTA_GRPC):
        talk, sink = Talk(api_type), Sink()
        talk.subscribe(CLUSTER, sink, {"*"})
        talk.mux.connected()
        for at_byte in range(len(whole)):
            mutated = bytearray(whole)
            mutated[rng.randrange(len(whole))] = rng.randrange(256)
            for data in (whole[:at_byte], bytes(mutated)):
                with contextlib.suppress(MalformedResponse):
                    talk.mux.receive(data)
                talk.now += 60
                talk.sent()


async def test_sixty_four_megabytes_at_once() -> None:
    sink = WaitingSink()
    filling = "x" * 6_400
    clusters = [message(CLUSTER, name=f"c{number}", alt_stat_name=filling) for number in range(10_000)]
    async with control_plane() as plane, client(cluster(at(plane.port)), api()) as made:
        made.source(ADS).subscribe(CLUSTER, sink, {"*"})
        visit = await plane.next_visit()
        await visit.next_request()
        await visit.send(sotw(CLUSTER, "1", "n1", *clusters))
        await sink.wait(60)
        assert len(sink.applied) == 10_000
        assert (await visit.next_request()).response_nonce == "n1"


async def test_a_length_that_is_a_lie() -> None:
    async with control_plane() as plane, client(cluster(at(plane.port)), api()) as made:
        made.source(ADS).subscribe(CLUSTER, WaitingSink(), {"*"})
        visit = await plane.next_visit()
        await visit._stream.send_initial_metadata()
        await visit._stream._stream.send_data(b"\0\xff\xff\xff\xff")
        await plane.next_visit()


async def test_an_outage_leaves_what_was_learnt_and_ends_by_itself() -> None:
    sink, store = WaitingSink(), StatsStore()
    async with control_plane() as plane, client(cluster(at(plane.port)), api(ApiType.DELTA_GRPC), store) as made:
        made.source(ADS).subscribe(CLUSTER, sink, {"*"})
        visit = await plane.next_visit()
        await visit.send(delta(CLUSTER, "1", "n1", ("a", "1", message(CLUSTER, name="a"))))
        await sink.wait()
        port = plane.port
        await plane.stop()
        failures = store.counter("cluster_manager.cds.update_failure")
        while failures.value < 4:
            await asyncio.sleep(0.01)
        assert store.gauge("control_plane.connected_state").value == 0
        assert sink.applied.keys() == {"a"}
        await plane.start(port)
        again = await plane.next_visit()
        await again.send(delta(CLUSTER, "2", "n2", ("b", "1", message(CLUSTER, name="b"))))
        await sink.wait()
        assert sink.applied.keys() == {"a", "b"}
        assert sink.updates[-1].removed == ()


async def test_a_peer_that_is_no_control_plane() -> None:
    """Speaks something else, or nothing."""
    visits = asyncio.Queue[bytes]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: TID251
        visits.put_nowait(await reader.read(10))
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    async with client(cluster(at(port)), api()) as made:
        made.source(ADS).subscribe(CLUSTER, WaitingSink(), {"*"})
        for _ in range(3):
            assert (await asyncio.wait_for(visits.get(), 10)).startswith(b"PRI")
    server.close()
    await server.wait_closed()


async def test_a_fault_of_ours_does_not_leave_us_deaf(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(WaitingSink):
        def on_update(self, update: Any) -> Any:
            if update.version == "1":
                raise ZeroDivisionError
            return super().on_update(update)

    sink = Raising()
    async with control_plane() as plane, client(cluster(at(plane.port)), api()) as made:
        made.source(ADS).subscribe(CLUSTER, sink, {"*"})
        visit = await plane.next_visit()
        await visit.send(sotw(CLUSTER, "1", "n1", message(CLUSTER, name="a")))
        again = await plane.next_visit()
        await again.send(sotw(CLUSTER, "2", "n2", message(CLUSTER, name="b")))
        await sink.wait()
    assert sink.applied.keys() == {"b"}
    assert "could not be taken in" in caplog.text


async def test_a_peer_that_has_gone_silent_is_noticed_by_pings() -> None:
    visits = asyncio.Queue[None]()

    swallowing: list[asyncio.Task[None]] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: TID251
        swallowing.append(asyncio.current_task())  # type: ignore[arg-type]
        visits.put_nowait(None)
        with contextlib.suppress(OSError):
            while await reader.read(65536):
                pass
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(swallow, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    google = GoogleGrpcConfig(f"{LOOPBACK}:{port}", keepalive=(0.05, 0.05))
    ads = replace(api(), services=(replace(api().services[0], cluster="", google=google),))
    async with client(cluster(), ads) as made:
        made.source(ADS).subscribe(CLUSTER, WaitingSink(), {"*"})
        for _ in range(3):
            await asyncio.wait_for(visits.get(), 10)
    server.close()
    await asyncio.gather(*swallowing)
    await server.wait_closed()


async def test_a_peer_that_never_answers_is_left_after_the_connect_timeout() -> None:
    """A full backlog: connections neither come about nor are refused."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex((LOOPBACK, port))
        async with (
            control_plane() as plane,
            client(cluster(at(port), at(plane.port), connect_timeout=0.1), api()) as made,
        ):
            made.source(ADS).subscribe(CLUSTER, WaitingSink(), {"*"})
            await plane.next_visit()
