"""The first request to a target: until it is answered as the scenario wants it, the target is not ready."""

import http.client
import re
import subprocess
from pathlib import Path

from bench import tcp_load, tls_load
from bench.config.certificates import Certificates
from bench.scenarios import Scenario, Traffic

SECONDS = 10.0


class Unanswered(Exception):
    """What came instead of the answer."""


def ask_once(scenario: Scenario, port: int, scratch: Path) -> None:
    """One request of the scenario's own kind."""
    try:
        if scenario.is_tcp:
            _ask_bytes(port)
        elif scenario.traffic is Traffic.HANDSHAKE:
            tls_load.Client(port, Certificates.at(scratch), scenario.resume).connect(keep=False).close()
        else:
            _ask_page(scenario, port)
    except (OSError, http.client.HTTPException) as error:
        raise Unanswered(f"did not answer ({error!r})") from error


def _ask_bytes(port: int) -> None:
    if tcp_load.run(port, 1, 1, Traffic.PING)["errors"]:
        raise Unanswered("did not give the bytes back")


def _ask_by_http2(scenario: Scenario, port: int) -> None:
    address = f"http://127.0.0.1:{port}{scenario.path}"
    said = subprocess.run(
        ["h2load", "-n", "1", address], capture_output=True, text=True, timeout=SECONDS, check=False
    ).stdout
    size = re.search(r"\((\d+)\) data", said)
    if "status codes: 1 2xx" not in said or size is None or int(size[1]) != scenario.body:
        raise Unanswered(f"did not answer by HTTP/2: {said.strip()[-200:]}")


def _ask_page(scenario: Scenario, port: int) -> None:
    if scenario.h2_in:
        _ask_by_http2(scenario, port)
        return
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", scenario.path)
        response = connection.getresponse()
        answer = response.status, len(response.read())
    finally:
        connection.close()
    if answer != (200, scenario.body):
        raise Unanswered(f"answered {answer[0]} with {answer[1]} bytes instead of {scenario.body}")
