"""A gRPC server of grpcio whose messages are plain bytes: `/t.Echo/` Unary, Stream, Collect, Chat and Fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc
import pytest

from tests.support.ports import LOOPBACK

Context = grpc.ServicerContext
SERVICE = "t.Echo"


def unary(data: bytes, context: Context) -> bytes:
    """What came, with `x-seen` of the call given back as metadata."""
    seen = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
    context.send_initial_metadata(seen)
    context.set_trailing_metadata([("x-trailer", "yes")])
    return data


def stream(data: bytes, context: Context) -> Iterator[bytes]:
    for number in range(3):
        yield data + str(number).encode()


def collect(messages: Iterator[bytes], context: Context) -> bytes:
    return b"+".join(messages)


def chat(messages: Iterator[bytes], context: Context) -> Iterator[bytes]:
    yield from messages


def fail(data: bytes, context: Context) -> bytes:
    context.abort(grpc.StatusCode(_CODES[int(data)]), "no: 100 % ü")
    raise AssertionError


_CODES = {code.value[0]: code.value for code in grpc.StatusCode}


class EchoServer:
    """Listens on a loopback port until the `with` is over. `more`: further handlers by path."""

    def __init__(self, more: dict[str, grpc.RpcMethodHandler] | None = None) -> None:
        self._server = grpc.server(ThreadPoolExecutor(8))
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
            "Stream": grpc.unary_stream_rpc_method_handler(stream),
            "Collect": grpc.stream_unary_rpc_method_handler(collect),
            "Chat": grpc.stream_stream_rpc_method_handler(chat),
            "Fail": grpc.unary_unary_rpc_method_handler(fail),
        }
        by_path = {f"/{SERVICE}/{name}": handler for name, handler in handlers.items()} | (more or {})
        self._server.add_generic_rpc_handlers((_Paths(by_path),))
        self.port: int = self._server.add_insecure_port(f"{LOOPBACK}:0")

    def __enter__(self) -> EchoServer:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.stop(None).wait()


class _Paths(grpc.GenericRpcHandler):
    def __init__(self, by_path: dict[str, grpc.RpcMethodHandler]) -> None:
        self._by_path = by_path

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._by_path.get(details.method)


class EchoClient:
    """Calls an echo server, perhaps through a proxy."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.insecure_channel(f"{LOOPBACK}:{port}")

    def __enter__(self) -> EchoClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def unary(self, data: bytes, method: str = "Unary", **more: Any) -> bytes:
        answer: bytes = self._path(self._channel.unary_unary, method)(data, timeout=20, **more)
        return answer

    def stream(self, data: bytes) -> list[bytes]:
        return list(self._path(self._channel.unary_stream, "Stream")(data, timeout=20))

    def collect(self, *messages: bytes) -> bytes:
        answer: bytes = self._path(self._channel.stream_unary, "Collect")(iter(messages), timeout=20)
        return answer

    def chat(self, messages: Iterator[bytes]) -> Iterator[bytes]:
        answers: Iterator[bytes] = self._path(self._channel.stream_stream, "Chat")(messages, timeout=20)
        return answers

    def failure(self, code: int) -> tuple[int, str]:
        return self.failed(str(code).encode(), "Fail")

    def failed(self, data: bytes, method: str = "Unary") -> tuple[int, str]:
        """Status and message of a call that fails."""
        with pytest.raises(grpc.RpcError) as raised:
            self.unary(data, method)
        error: Any = raised.value
        return error.code().value[0], error.details()

    @staticmethod
    def _path(make: Callable[..., Any], method: str) -> Any:
        return make(f"/{SERVICE}/{method}")
