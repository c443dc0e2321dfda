"""Filters for gRPC in whole proxies, with client and server of grpcio."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pyproxy.filters.http.grpc_web import decode
from pyproxy.http.grpc_frames import MessageReader, frame
from tests.integration.h2_client import H2Client
from tests.server.bootstraps import ROUTER, bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.server.running import Running, eventually
from tests.support.grpc_echo import EchoClient, EchoServer
from tests.support.ports import LOOPBACK
from tests.support.shelf import descriptor_set, message_classes

TYPE = "type.googleapis.com/envoy.extensions"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
H2 = {
    "typed_extension_protocol_options": {
        OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}
    }
}
Start = Callable[..., Running]


def http_filter(name: str, message: str, **fields: Any) -> dict[str, Any]:
    typed = {"@type": f"{TYPE}.filters.http.{name}.v3.{message}", **fields}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed}


ROUTE = {"route": {"cluster": "up", "timeout": "0s"}}
LAST = {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}


@pytest.fixture(scope="module")
def server() -> Iterator[EchoServer]:
    with EchoServer() as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A proxy with these filters before the cluster `up`, which speaks HTTP/2. Its access log is `access.log`."""
    started: list[Running] = []

    def begin(port: int, *filters: dict[str, Any], log: str = "%RESPONSE_CODE%", h2: bool = True) -> Running:
        logs = [file_log(str(tmp_path / "access.log"), log)]
        web = listener("web", 0, manager("web", ROUTE, access_log=logs, http_filters=[*filters, LAST]))
        up = static_cluster("up", endpoint(port), **(H2 if h2 else {}))
        proxy = Running.real(tmp_path, bootstrap([web], [up]), "--concurrency", "1")
        started.append(proxy)
        eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
        assert proxy.process.poll() is None, proxy.said()
        return proxy

    yield begin
    for proxy in started:
        assert "Traceback" not in proxy.said()
        proxy.stop()


def stats(proxy: Running, pattern: str) -> dict[str, str]:
    text = proxy.admin(f"/stats?usedonly&filter={pattern}")[1]
    return dict(line.split(": ", 1) for line in text.splitlines())


def test_stats_of_calls(start: Start, server: EchoServer, tmp_path: Path) -> None:
    wanted = {"stats_for_all_methods": True, "emit_filter_state": True, "enable_upstream_stats": True}
    state = "%FILTER_STATE(envoy.filters.http.grpc_stats:PLAIN)%"
    proxy = start(server.port, http_filter("grpc_stats", "FilterConfig", **wanted), log=state)
    with EchoClient(proxy.port("web")) as client:
        assert client.unary(b"abc") == b"abc"
        assert client.stream(b"x") == [b"x0", b"x1", b"x2"]
        assert client.collect(b"a", b"b") == b"a+b"
        assert list(client.chat(iter([b"1", b"2", b"3" * 100_000]))) == [b"1", b"2", b"3" * 100_000]
        assert client.failure(9) == (9, "no: 100 % ü")
    log = tmp_path / "access.log"
    eventually(lambda: log.exists() and len(log.read_text().splitlines()) == 5)
    assert log.read_text().split() == ["1,1", "1,3", "2,1", "3,3", "1,0"]
    prefix = "cluster.up.grpc.t.Echo."

    def counted() -> dict[str, str]:
        found = stats(proxy, r"\.grpc\.")
        return {name.removeprefix(prefix): value for name, value in found.items() if "time" not in name}

    eventually(lambda: "Fail.9" in counted())
    expected = {"Fail.9": "1", "Fail.failure": "1", "Fail.total": "1", "Fail.request_message_count": "1"}
    for method, sent, received in (("Unary", 1, 1), ("Stream", 1, 3), ("Collect", 2, 1), ("Chat", 3, 3)):
        expected |= {f"{method}.{name}": "1" for name in ("0", "success", "total")}
        expected |= {f"{method}.request_message_count": str(sent), f"{method}.response_message_count": str(received)}
    assert counted() == expected
    assert f"{prefix}Unary.upstream_rq_time" in stats(proxy, "upstream_rq_time")


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_calls_of_browsers(start: Start, server: EchoServer, version: str, text: bool) -> None:
    proxy = start(server.port, http_filter("grpc_web", "GrpcWeb"))
    kind = "application/grpc-web-text" if text else "application/grpc-web"

    def call(method: str, message: bytes) -> list[tuple[int, bytes]]:
        body = frame(message)
        data = base64.b64encode(body) if text else body
        fields = {"content-type": kind, "accept": kind, "x-user": "me"}
        if version == "HTTP/2":
            with H2Client(proxy.port("web")) as client:
                status, answer = client.finish(client.begin("POST", f"/t.Echo/{method}", data, *fields.items()))
        else:
            connection = http.client.HTTPConnection(LOOPBACK, proxy.port("web"), timeout=20)
            connection.request("POST", f"/t.Echo/{method}", data, fields)
            response = connection.getresponse()
            status, answer = response.status, response.read()
            assert response.getheader("content-type") == f"{kind}+proto"
            connection.close()
        assert status == 200
        reader = MessageReader()
        found = reader.read(decode(answer) or b"" if text else answer)
        assert not reader.wrong
        assert not reader.rest
        return found

    large = bytes(range(256)) * 1000
    *messages, (flags, end) = call("Unary", large)
    assert messages == [(0, large)]
    assert flags == 0x80
    assert b"grpc-status:0\r\n" in end
    assert b"x-trailer:yes\r\n" in end
    *messages, _ = call("Stream", b"a")
    assert messages == [(0, b"a0"), (0, b"a1"), (0, b"a2")]


def test_calls_by_http1(start: Start, server: EchoServer) -> None:
    proxy = start(server.port, http_filter("grpc_http1_bridge", "Config", upgrade_protobuf_to_grpc=True))
    connection = http.client.HTTPConnection(LOOPBACK, proxy.port("web"), timeout=20)

    def call(method: str, body: bytes, kind: str) -> tuple[int, str | None, bytes]:
        connection.request("POST", f"/t.Echo/{method}", body, {"content-type": kind, "te": "trailers"})
        response = connection.getresponse()
        return response.status, response.getheader("grpc-status"), response.read()

    large = bytes(range(256)) * 1000
    assert call("Unary", frame(large), "application/grpc") == (200, "0", frame(large))
    assert call("Stream", frame(b"a"), "application/grpc") == (200, "0", frame(b"a0") + frame(b"a1") + frame(b"a2"))
    assert call("Unary", large, "application/x-protobuf") == (200, "0", large)
    status, code, _ = call("Fail", b"9", "application/x-protobuf")
    assert (status, code) in ((200, "9"), (503, "9"))  # a server may say it all in one head
    connection.close()


class Plain(http.server.BaseHTTPRequestHandler):
    """Gives bodies back, by HTTP/1.1 and without an idea of gRPC."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.send_response(200 if body != b"bad" else 403)
        self.send_header("content-type", self.headers["accept"])
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_calls_to_upstreams_without_grpc(start: Start) -> None:
    upstream = http.server.ThreadingHTTPServer((LOOPBACK, 0), Plain)
    thread = threading.Thread(target=upstream.serve_forever)
    thread.start()
    wanted = {"content_type": "application/x-protobuf", "withhold_grpc_frames": True}
    bridge = http_filter("grpc_http1_reverse_bridge", "FilterConfig", **wanted)
    proxy = start(upstream.server_port, bridge, h2=False)
    large = bytes(range(256)) * 1000
    with EchoClient(proxy.port("web")) as client:
        assert client.unary(large) == large
        assert client.failed(b"bad") == (7, "")
    upstream.shutdown()
    upstream.server_close()
    thread.join()


def test_json(start: Start) -> None:
    """Every kind of call, and a route for which the filter is off."""
    book, request = message_classes("Book", "GetRequest")

    def get(data: bytes, context: grpc.ServicerContext) -> bytes:
        asked = request.FromString(data)
        if asked.shelf == "none":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such shelf")
        made: bytes = book(id=asked.book.id, title=asked.shelf).SerializeToString()
        return made

    def listed(data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for number in range(request.FromString(data).count):
            yield book(id=number).SerializeToString()

    def collect(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        made: bytes = book(tags=[book.FromString(one).title for one in messages]).SerializeToString()
        return made

    handlers = {
        "/t.Library/Get": grpc.unary_unary_rpc_method_handler(get),
        "/t.Library/List": grpc.unary_stream_rpc_method_handler(listed),
        "/t.Library/Collect": grpc.stream_unary_rpc_method_handler(collect),
        "/t.Library/Chat": grpc.stream_stream_rpc_method_handler(lambda messages, context: messages),
        "/t.Library/Echo": grpc.unary_unary_rpc_method_handler(lambda data, context: data),
    }
    bound = {
        "proto_descriptor_bin": base64.b64encode(descriptor_set()).decode(),
        "services": ["t.Library"],
        "convert_grpc_status": True,
    }
    with EchoServer(handlers) as server:
        proxy = start(server.port, http_filter("grpc_json_transcoder", "GrpcJsonTranscoder", **bound))
        connection = http.client.HTTPConnection(LOOPBACK, proxy.port("web"), timeout=20)

        def call(method: str, path: str, value: Any = None) -> tuple[int, Any]:
            connection.request(method, path, None if value is None else json.dumps(value))
            response = connection.getresponse()
            return response.status, json.loads(response.read())

        assert call("GET", "/v1/shelves/a/books/7") == (200, {"id": "7", "title": "a"})
        assert call("GET", "/v1/shelves/none/books/7") == (404, {"code": 5, "message": "no such shelf"})
        assert call("GET", "/v1/list?count=3") == (200, [{}, {"id": "1"}, {"id": "2"}])
        assert call("GET", "/v1/list") == (200, [])
        assert call("POST", "/v1/collect", [{"title": "a"}, {"title": "b"}]) == (200, {"tags": ["a", "b"]})
        many = [{"title": "t", "tags": ["x" * 1000]}] * 200
        assert call("POST", "/v1/chat/t", many) == (200, many)
        large = {"title": "x" * 500_000}
        assert call("POST", "/v1/echo", large) == (200, large)
        connection.close()
        with H2Client(proxy.port("web")) as client:
            assert client.request("POST", "/v1/echo", b'{"kind": "POEM"}') == (200, b'{"kind":"POEM"}')
        with EchoClient(proxy.port("web")) as plain:  # calls pass as they are
            assert plain.unary(b"abc") == b"abc"
