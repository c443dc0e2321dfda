"""The open-loop generator keeps its schedule, and counts a wait as latency."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise

import pytest

from bench.open_loop import Generator, main, quantiles, schedule

REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhi.end"


def test_schedule_has_the_rate_and_is_the_same_again() -> None:
    moments = schedule(1000, 2.0, seed=5)
    assert len(moments) == 2000
    assert moments == sorted(moments) == schedule(1000, 2.0, seed=5)
    assert moments[0] >= 0
    assert moments[-1] <= 2_000_000_000
    assert schedule(1000, 2.0, seed=6) != moments


def test_schedule_is_not_a_comb() -> None:
    """Gaps of a Poisson process vary as much as they are long."""
    moments = schedule(1000, 4.0, seed=1)
    gaps = [after - before for before, after in pairwise(moments)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation / mean == pytest.approx(1.0, abs=0.1)


def test_quantiles_are_microseconds_by_nearest_rank() -> None:
    found = quantiles([n * 1000 for n in range(1, 101)])
    assert found == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 100.0, "max": 100.0}
    assert quantiles([]) == {}


Serve = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that runs a handler in a thread per connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def start(handle: Callable[[socket.socket], None]) -> int:
        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def answer_after(seconds: float, reply: bytes = REPLY) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        with connection:
            while connection.recv(4096):
                time.sleep(seconds)
                for at in range(0, len(reply), 20):
                    connection.send(reply[at : at + 20])

    return handle


def order(port: int, rate: float, connections: int) -> dict[str, object]:
    return {"port": port, "path": "/", "rate": rate, "seconds": 0.5, "connections": connections, "seed": 1}


def test_every_request_is_answered(serve: Serve) -> None:
    result = main(order(serve(answer_after(0)), 200, 8))
    assert (result["requests"], result["errors"]) == (100, 0)
    assert result["lat_us"]["p50"] > 0


def test_a_wait_for_a_free_connection_is_latency(serve: Serve) -> None:
    """Ten requests in half a second, one connection, 0.1 s each: the last cannot be served before a second is over."""
    result = main(order(serve(answer_after(0.1)), 20, 1))
    assert result["errors"] == 0
    assert result["lat_us"]["max"] > 400_000


def test_error_answers_are_errors(serve: Serve) -> None:
    reply = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\n.end"
    assert main(order(serve(answer_after(0, reply)), 40, 2))["errors"] == 20


def test_lost_connections_are_errors(serve: Serve) -> None:
    with closing(Generator(serve(lambda connection: connection.close()), "/", 2)) as generator:
        time.sleep(0.1)
        generator.run(schedule(100, 0.2, seed=1))
    assert generator.errors == 20
