"""The generator and the upstream of the TCP scenarios, one against the other and against those who do not answer."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from bench import tcp_load
from bench.scenarios import Traffic
from bench.tcp_answerer import Answerer, ask


@pytest.fixture
def port() -> int:
    answerer = Answerer(0)
    threading.Thread(target=answerer.serve, daemon=True).start()
    return answerer.port


@pytest.fixture
def misbehave(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], int]]:
    """A server that gives one fixed answer to the first ask of each connection and hangs up."""
    monkeypatch.setattr(tcp_load, "SILENCE_SECONDS", 1.0)
    listener = socket.create_server(("127.0.0.1", 0))

    def start(answer: bytes) -> int:
        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(64)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize(("traffic", "requests"), [(Traffic.PING, 500), (Traffic.BULK, 10)])
def test_everything_asked_for_comes(port: int, traffic: Traffic, requests: int) -> None:
    found = tcp_load.run(port, requests, 4, traffic)
    assert (found["requests"], found["errors"]) == (requests, 0)


def test_an_ask_in_pieces_and_two_at_once_are_answered(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        both = ask(10) + ask(5)
        connection.sendall(both[:7])
        connection.sendall(both[7:])
        received = b""
        while len(received) < 15:
            received += connection.recv(100)
    assert received == bytes(15)


@pytest.mark.parametrize("answer", [b"", bytes(63)])
def test_what_does_not_come_is_an_error(misbehave: Callable[[bytes], int], answer: bytes) -> None:
    assert tcp_load.run(misbehave(answer), 6, 2, Traffic.PING)["errors"] == 6


def test_what_comes_for_nothing_is_an_error(misbehave: Callable[[bytes], int]) -> None:
    assert tcp_load.run(misbehave(bytes(65)), 2, 2, Traffic.PING)["errors"] == 2


def test_a_stream_that_is_cut_counts_what_is_missing(misbehave: Callable[[bytes], int]) -> None:
    assert tcp_load.run(misbehave(bytes(1000)), 6, 2, Traffic.BULK)["errors"] == 6


def test_shares_are_equal_and_nobody_comes_for_nothing() -> None:
    assert tcp_load.shares(7, 3) == [3, 2, 2]
    assert tcp_load.shares(1, 4) == [1]
