from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from cryptography import x509

from pyproxy.config.address import AddressConfig
from pyproxy.config.config_source import (
    ApiType,
    CallCredential,
    ConfigSourceConfig,
    GoogleGrpcConfig,
    GrpcServiceConfig,
    SelfSourceConfig,
)
from pyproxy.config.matchers import StringKind, StringMatch
from pyproxy.config.tls import PeerValidation, SanMatch, TlsConfig, UpstreamTlsConfig
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.xds_client.source import NoSource
from tests.support.certificates import Authority
from tests.support.control_plane import CLUSTER, ENDPOINTS, LISTENER, SECRET, delta, message, sotw
from tests.support.ports import LOOPBACK
from tests.xds_client.clients import ADS, WaitingSink, api, at, client, cluster, control_plane


async def _learn_over_ads() -> None:
    store, sink, listeners = StatsStore(), WaitingSink(), WaitingSink()
    async with control_plane() as plane, client(cluster(at(plane.port)), api(), store) as made:
        made.source(ADS).subscribe(CLUSTER, sink, {"*"})
        made.source(ADS).subscribe(LISTENER, listeners, {"*"})
        visit = await plane.next_visit()
        assert [(await visit.next_request()).type_url for _ in range(2)] == [CLUSTER, LISTENER]
        await visit.send(sotw(CLUSTER, "1", "n1", message(CLUSTER, name="a")))
        await sink.wait()
        answer = await visit.next_request()
        assert (answer.version_info, answer.response_nonce, answer.node.id) == ("1", "n1", "me")
        assert store.gauge("control_plane.connected_state").value == 1
        assert store.text("cluster_manager.cds.version_text").value == "1"
        visit.end()
        again = await plane.next_visit()
        assert (await again.next_request()).version_info == "1"
        assert sink.applied.keys() == {"a"}


def test_over_the_event_loop_of_the_proxy() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_learn_over_ads())


async def test_over_the_event_loop_of_python() -> None:
    await _learn_over_ads()


async def test_delta_after_a_lost_stream() -> None:
    sink = WaitingSink()
    ads = api(ApiType.DELTA_GRPC)
    async with control_plane() as plane, client(cluster(at(plane.port)), ads) as made:
        made.source(ADS).subscribe(CLUSTER, sink, {"*"})
        visit = await plane.next_visit()
        assert visit.path.endswith("/DeltaAggregatedResources")
        await visit.send(delta(CLUSTER, "1", "n1", ("a", "7", message(CLUSTER, name="a"))))
        await sink.wait()
        port = plane.port
        await plane.stop()
        await plane.start(port)
        again = await plane.next_visit()
        assert dict((await again.next_request()).initial_resource_versions) == {"a": "7"}


async def test_changes_of_what_is_wanted_are_sent_together() -> None:
    async with control_plane() as plane, client(cluster(at(plane.port)), api()) as made:
        watch = made.source(ADS).subscribe(ENDPOINTS, WaitingSink(), {"a"})
        visit = await plane.next_visit()
        await visit.next_request()
        watch.watch({"a", "b"})
        watch.watch({"a", "b", "c"})
        assert list((await visit.next_request()).resource_names) == ["a", "b", "c"]


async def test_waiting_ends_where_nobody_answers() -> None:
    with socket.socket() as closed:
        closed.bind((LOOPBACK, 0))
        async with client(cluster(at(closed.getsockname()[1])), api()) as made:
            sink = WaitingSink()
            made.source(replace(ADS, initial_fetch_timeout=0.05)).subscribe(CLUSTER, sink, {"*"})
            await sink.wait()
            assert sink.missing == ["*"]


async def test_metadata_authority_and_the_next_endpoint() -> None:
    with socket.socket() as closed:
        closed.bind((LOOPBACK, 0))
        dead = at(closed.getsockname()[1])
        async with control_plane() as plane:
            ads = api(authority="xds.example", metadata=(("x-token", "secret"), ("x-bin-bin", b"\0\1")))
            async with client(cluster(dead, at(plane.port)), ads) as made:
                made.source(ADS).subscribe(CLUSTER, WaitingSink(), {"*"})
                visit = await plane.next_visit()
                assert visit.metadata["x-token"] == "secret"
                assert visit.metadata["x-bin-bin"] == b"\0\1"


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "xds")
    async with control_plane(path=path) as plane, client(cluster(AddressConfig(pipe=path)), api()) as made:
        made.source(ADS).subscribe(CLUSTER, WaitingSink(), {"*"})
        assert (await (await plane.next_visit()).next_request()).type_url == CLUSTER


@pytest.mark.parametrize("name", ["right", "wrong"])
async def test_tls_and_who_is_there(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path / "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("plane", x509.DNSName("right")))
    context.set_alpn_protocols(["h2"])
    sans = (SanMatch("DNS", StringMatch(StringKind.EXACT, name)),)
    checks = PeerValidation(trusted_ca=authority.ca.read_text(), sans=sans)
    tls = UpstreamTlsConfig(TlsConfig(validation=checks), sni="right")
    async with control_plane(ssl=context) as plane, client(cluster(at(plane.port), tls=tls), api()) as made:
        sink = WaitingSink()
        made.source(replace(ADS, initial_fetch_timeout=0.5)).subscribe(CLUSTER, sink, {"*"})
        if name == "right":
            assert (await (await plane.next_visit()).next_request()).type_url == CLUSTER
        else:
            await sink.wait()
            assert plane.visits.empty()


async def test_google_grpc_reads_its_token_for_each_stream(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    async with control_plane() as plane:
        credentials = (CallCredential(prefix="Bearer ", file=str(token)),)
        google = GoogleGrpcConfig(f"dns:///{LOOPBACK}:{plane.port}", credentials=credentials)
        ads = replace(api(), services=(replace(api().services[0], cluster="", google=google),))
        async with client(cluster(), ads) as made:
            made.source(ADS).subscribe(CLUSTER, WaitingSink(), {"*"})
            visit = await plane.next_visit()
            assert visit.metadata["authorization"] == "Bearer one"
            token.write_text("two\n")
            visit.end()
            assert (await plane.next_visit()).metadata["authorization"] == "Bearer two"


async def test_the_second_service_is_for_when_the_first_does_not_answer() -> None:
    with socket.socket() as closed:
        closed.bind((LOOPBACK, 0))
        async with control_plane() as plane:
            first = GrpcServiceConfig("xds", back_off=api().services[0].back_off)
            second = GrpcServiceConfig(google=GoogleGrpcConfig(f"{LOOPBACK}:{plane.port}"))
            ads = replace(api(), services=(first, second))
            async with client(cluster(at(closed.getsockname()[1])), ads) as made:
                made.source(ADS).subscribe(CLUSTER, WaitingSink(), {"*"})
                await plane.next_visit()


async def test_separate_streams_and_one_for_each_secret() -> None:
    async with control_plane() as plane, client(cluster(at(plane.port)), None) as made:
        source = made.source(ConfigSourceConfig(api(ApiType.GRPC), 0.0))
        source.subscribe(CLUSTER, WaitingSink(), {"*"})
        assert (await plane.next_visit()).path.endswith("/StreamClusters")
        secrets = source.subscribe(SECRET, WaitingSink(), {"default", "ROOTCA"})
        visits = [await plane.next_visit() for _ in range(2)]
        asked = {next(iter((await visit.next_request()).resource_names)) for visit in visits}
        assert asked == {"default", "ROOTCA"}
        secrets.close()
        for visit in visits:
            await asyncio.wait_for(visit.ended.wait(), 10)


async def test_a_message_that_is_too_long_ends_the_stream() -> None:
    async with control_plane() as plane, client(cluster(at(plane.port)), api(max_receive_message_length=100)) as made:
        made.source(ADS).subscribe(CLUSTER, WaitingSink(), {"*"})
        visit = await plane.next_visit()
        await visit.send(sotw(CLUSTER, "1" * 200, "n1"))
        await plane.next_visit()


async def test_garbage_ends_the_stream_and_nothing_else() -> None:
    sink = WaitingSink()
    async with control_plane() as plane, client(cluster(at(plane.port)), api()) as made:
        made.source(ADS).subscribe(CLUSTER, sink, {"*"})
        visit = await plane.next_visit()
        await visit.send(sotw(CLUSTER, "1", "n1", message(CLUSTER, name="a")))
        await sink.wait()
        await visit.send_bytes(b"\xff\xff\xff")
        again = await plane.next_visit()
        await again.send(sotw(CLUSTER, "2", "n2", message(CLUSTER, name="a"), message(CLUSTER, name="b")))
        await sink.wait()
        assert sink.applied.keys() == {"a", "b"}


async def test_who_comes_late_is_told() -> None:
    first, late = WaitingSink(), WaitingSink()
    async with control_plane() as plane, client(cluster(at(plane.port)), api()) as made:
        made.source(ADS).subscribe(ENDPOINTS, first, {"a"})
        visit = await plane.next_visit()
        await visit.send(sotw(ENDPOINTS, "1", "n1", message(ENDPOINTS, cluster_name="a")))
        await first.wait()
        made.source(ADS).subscribe(ENDPOINTS, late, {"a"})
        await late.wait()
        assert late.last == (["a"], [])


async def test_sources_that_there_are_not() -> None:
    async with client(cluster(), None) as made:
        for config in (ADS, ConfigSourceConfig(SelfSourceConfig()), ConfigSourceConfig(api())):
            with pytest.raises(NoSource):
                made.source(config)
        unknown = replace(api(ApiType.GRPC), services=(GrpcServiceConfig("other"),))
        with pytest.raises(NoSource, match="no cluster 'other'"):
            made.source(ConfigSourceConfig(unknown)).subscribe(CLUSTER, WaitingSink(), {"*"})
