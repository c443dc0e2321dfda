"""Envoy and pyproxy record the same exchanges: to files, and for whoever asks at the admin."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.tls_proxies import OWNERS, Counting, Json, Proxy, two_proxies
from tests.server.bootstraps import HELLO, ROUTER, bootstrap, endpoint, listener, manager, static_cluster
from tests.server.running import eventually
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer

pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("tap")]
TAP = "type.googleapis.com/envoy.extensions.filters.http.tap.v3.Tap"
RECORDED = dict.fromkeys(
    ("record_headers_received_time", "record_downstream_connection", "record_upstream_connection"), True
)
ANY = {"any_match": True}
SAID = {"http_request_headers_match": {"headers": [{"name": "x-a", "string_match": {"exact": "1"}}]}}
FAILED = {"http_response_headers_match": {"headers": [{"name": ":status", "string_match": {"prefix": "5"}}]}}
HI = {"http_response_generic_body_match": {"patterns": [{"string_match": "hi"}]}}
# name: (match, streaming, fields of the output)
FILES: dict[str, tuple[Json, bool, Json]] = {
    "any": (ANY, False, {}),
    "short": (ANY, False, {"max_buffered_tx_bytes": 1}),
    "said": (SAID, False, {}),
    "not-said": ({"not_match": SAID}, False, {}),
    "both": ({"and_match": {"rules": [SAID, HI]}}, False, {}),
    "either": ({"or_match": {"rules": [FAILED, HI]}}, False, {}),
    "failed": (FAILED, False, {}),
    "segments": (ANY, True, {}),
    "late-segments": ({"not_match": FAILED}, True, {}),
}
STREAM = {"streaming_admin": {}}
BODY = b'"as_string": "h'
NAMES = (*FILES, "direct", "asked")
_CHANGES = (
    (re.compile(rb'"headers_received_time": "[^"]+"'), b'"headers_received_time": "then"'),
    (re.compile(rb'(?<="trace_id": ")[0-9]+'), b"number"),
    (re.compile(rb"127\.0\.0\.1:[0-9]+"), b"here"),
    (re.compile(rb'("key": "(?:x-request-id|date|x-envoy-upstream-service-time)",\s+"value": ")[^"]+'), rb"\1varies"),
    (re.compile(rb'"port_value": [0-9]+'), b'"port_value": 1'),
)


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    upstream = Peer(Counting())

    def make(proxy: Proxy) -> Json:
        def static(name: str, match: Json, streaming: bool, output: Json) -> Json:
            sink = {"format": "JSON_BODY_AS_STRING", "file_per_tap": {"path_prefix": str(proxy.directory / name)}}
            return {
                "static_config": {"match": match, "output_config": {"sinks": [sink], "streaming": streaming, **output}}
            }

        commons = {name: static(name, *one) for name, one in FILES.items()}
        commons |= {"direct": static("direct", ANY, False, {}), "asked": {"admin_config": {"config_id": "me"}}}
        listeners = []
        for name, common in commons.items():
            action = HELLO if name == "direct" else {"route": {"cluster": "up"}}
            filters = [
                {"name": "tap", "typed_config": {"@type": TAP, "common_config": common, **RECORDED}},
                {"name": "router", "typed_config": {"@type": ROUTER}},
            ]
            listeners.append(listener(name, proxy.ports[name], manager(name, action, http_filters=filters)))
        return bootstrap(listeners, [static_cluster("up", endpoint(upstream.port))])

    yield from two_proxies(tmp_path_factory.mktemp("tap"), NAMES, make)
    upstream.close()


def call(port: int, path: str = "/a?b=c") -> None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    connection.request("GET", path, headers={"x-a": "1"})
    assert connection.getresponse().read() == b"hi"
    connection.close()


def comparable(text: bytes) -> list[Any]:
    """The traces of a text, without what differs between two exchanges."""
    for pattern, replacement in _CHANGES:
        text = pattern.sub(replacement, text)
    decoder, at, found = json.JSONDecoder(), 0, []
    plain = text.decode().strip()
    while at < len(plain):
        trace, at = decoder.raw_decode(plain, at)
        found.append(trace)
        while at < len(plain) and plain[at].isspace():
            at += 1
    return found


def written(proxy: Proxy, name: str) -> list[Path]:
    return list(proxy.directory.glob(f"{name}_*.json"))


def recorded(proxy: Proxy, name: str) -> list[Any]:
    """What one request has brought; a request to `any` behind it tells when it is there."""
    call(proxy.ports[name])
    (file,) = eventually(lambda: written(proxy, name))
    # Segments come one after the other, the last one with the body.
    return eventually(lambda: comparable(text) if BODY in (text := file.read_bytes()) and text.endswith(b"}\n") else [])


@pytest.mark.parametrize("name", [name for name in (*FILES, "direct") if name not in ("not-said", "failed")])
def test_the_same_in_files(proxies: dict[str, Proxy], name: str) -> None:
    envoy, pyproxy = (recorded(proxies[owner], name) for owner in OWNERS)
    assert envoy == pyproxy


@pytest.mark.parametrize("name", ["not-said", "failed"])
@pytest.mark.parametrize("owner", OWNERS)
def test_what_is_not_wanted(proxies: dict[str, Proxy], owner: str, name: str) -> None:
    proxy = proxies[owner]
    call(proxy.ports[name])
    stat = f"http.{name}.downstream_rq_total: 1"
    assert eventually(lambda: stat in proxy.process.admin("/stats")[1].decode())
    assert not written(proxy, name)
    assert f"http.{name}.tap.rq_tapped: 0" in proxy.process.admin("/stats")[1].decode()


def asked(proxy: Proxy, sink: Json, calls: int) -> tuple[int, bytes]:
    """What comes back of `POST /tap` while there are so many requests; all of it where the answer ends by itself."""
    config = {"match": ANY, "output_config": {"sinks": [{"format": "JSON_BODY_AS_STRING", **sink}]}}
    connection = http.client.HTTPConnection(LOOPBACK, proxy.process.admin_port, timeout=20)
    connection.request("POST", "/tap", body=json.dumps({"config_id": "me", "tap_config": config}))

    def send() -> None:
        for number in range(calls):
            call(proxy.ports["asked"], f"/{number}")

    thread = threading.Thread(target=send)
    try:
        response = connection.getresponse()  # with which it is attached
        thread.start()
        if response.status != 200 or "buffered_admin" in sink:
            return response.status, response.read()
        found = b""
        while found.count(b'"http_buffered_trace"') < calls or not found.rstrip().endswith(b"\n}"):
            found += response.read1(65536)
        return response.status, found
    finally:
        connection.close()
        thread.join()


@pytest.mark.parametrize("sink", [{"streaming_admin": {}}, {"buffered_admin": {"max_traces": 9, "timeout": "1.5s"}}])
def test_the_same_at_the_admin(proxies: dict[str, Proxy], sink: Json) -> None:
    said = []
    for owner in OWNERS:
        status, text = asked(proxies[owner], sink, 2)
        assert status == 200
        said.append(comparable(text))
        assert eventually(lambda owner=owner: "rq_tapped" in proxies[owner].process.admin("/stats")[1].decode())
    assert said[0] == said[1]
    assert len(said[0]) == 2


def test_whoever_leaves_makes_room(proxies: dict[str, Proxy]) -> None:
    """The next is served although the one before has left without a word."""
    for _ in range(2):
        assert eventually(lambda: asked(proxies["pyproxy"], {"streaming_admin": {}}, 1)[0] == 200)


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", b"/tap requires a JSON/YAML body"),
        (
            json.dumps({"config_id": "you", "tap_config": {"match": ANY, "output_config": {"sinks": [STREAM]}}}),
            b"Unknown config id 'you'. No extension has registered with this id.",
        ),
    ],
)  # fmt: skip
def test_what_is_not_answered(proxies: dict[str, Proxy], owner: str, body: str, says: bytes) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, proxies[owner].process.admin_port, timeout=10)
    connection.request("POST", "/tap", body=body)
    response = connection.getresponse()
    assert (response.status, response.read().strip()) == (400, says)
    connection.close()
