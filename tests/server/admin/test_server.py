from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.running import PATIENCE, Running, eventually

MUTATING = [
    "/drain_listeners",
    "/healthcheck/fail",
    "/healthcheck/ok",
    "/logging",
    "/quitquitquit",
    "/reopen_logs",
    "/reset_counters",
]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    proxy = Running.stand_in(tmp_path_factory.mktemp("proxy"), "well", "--concurrency", "1")
    try:
        eventually(proxy.ready)
        yield proxy
    finally:
        proxy.stop()


def ask(proxy: Running, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection(proxy.admin_address(), timeout=PATIENCE)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


def test_headers_are_envoys(proxy: Running) -> None:
    response, body = ask(proxy, "/ready")
    assert (response.status, body) == (200, "LIVE\n")
    headers = {name.lower(): value for name, value in response.getheaders()}
    assert headers.pop("date")
    assert headers == {
        "content-type": "text/plain; charset=UTF-8",
        "cache-control": "no-cache, max-age=0",
        "x-content-type-options": "nosniff",
        "server": "envoy",
        "transfer-encoding": "chunked",
    }


@pytest.mark.parametrize("path", MUTATING)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_changes_something_takes_post_only(proxy: Running, path: str, method: str) -> None:
    response, body = ask(proxy, path, method)
    assert (response.status, body) == (405, f"Method {method} not allowed, POST required.")


def test_an_unknown_path_gets_the_list_of_those_there_are(proxy: Running) -> None:
    response, body = ask(proxy, "/nothing")
    assert response.status == 404
    assert body == f"invalid path. {ask(proxy, '/help')[1]}"


def test_every_get_endpoint_of_the_help_answers(proxy: Running) -> None:
    paths = [line.split(":")[0].strip() for line in ask(proxy, "/help")[1].splitlines() if line.startswith("  /")]
    answers = {path: ask(proxy, path)[0].status for path in paths if "(POST)" not in path}
    assert set(answers.values()) == {200}
    assert {path.removesuffix(" (POST)") for path in paths if "(POST)" in path} == set(MUTATING)


def test_the_home_page_leads_to_every_endpoint(proxy: Running) -> None:
    response, body = ask(proxy, "/")
    assert response.headers["content-type"] == "text/html; charset=UTF-8"
    for path in ("stats/prometheus", "config_dump", "unsupported"):
        assert f"<form action='{path}' method='get'>" in body
    for path in MUTATING:
        assert f"<form action='{path[1:]}' method='post'>" in body


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:1", 200), ("[::1]", 200), ("attacker.example", 403), ("attacker.example:80", 403)],
)
def test_a_page_cannot_reach_us_by_a_name_of_its_own(proxy: Running, host: str, status: int) -> None:
    assert ask(proxy, "/config_dump", Host=host)[0].status == status
    assert ask(proxy, "/healthcheck/ok", "POST", Host=host)[0].status == status


def test_head_has_no_body(proxy: Running) -> None:
    response, body = ask(proxy, "/ready", "HEAD")
    assert (response.status, body) == (200, "")


def test_a_failing_endpoint_says_so(proxy: Running) -> None:
    response, body = ask(proxy, "/stats?type=Everything")
    assert (response.status, body) == (400, "invalid &type= param")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("nobody=info", "unknown logger name"),
        ("admin=loud", "unknown logger level"),
        ("level=loud", "unknown logger level"),
        ("paths=admin", "empty logger name or empty logger level"),
        ("paths=admin:info,nobody:info", "unknown logger name"),
        ("level=info&admin=info", "invalid number of parameters"),
        ("group=main:info", "group parameter requires fine-grain logging to be enabled"),
    ],
)
def test_wrong_log_levels_are_explained(proxy: Running, query: str, reason: str) -> None:
    response, body = ask(proxy, f"/logging?{query}", "POST")
    assert response.status == 400
    assert body.startswith(f"error: {reason}\n\nusage: /logging?<name>=<level> (change single level)\n")
    assert "\nactive loggers:\n" in body


def test_log_levels_can_be_sent_as_a_form(proxy: Running) -> None:
    connection = http.client.HTTPConnection(proxy.admin_address(), timeout=PATIENCE)
    connection.request("POST", "/logging", "hc=debug", {"content-type": "application/x-www-form-urlencoded"})
    assert "  hc: debug\n" in connection.getresponse().read().decode()
    connection.request("POST", "/logging?level=info")
    assert "  hc: info\n" in connection.getresponse().read().decode()
    connection.close()


def test_memory_tells_of_every_process(proxy: Running) -> None:
    _, body = ask(proxy, "/memory")
    assert '"name": "supervisor"' in body
    assert f'"pid": {proxy.pid}' in body
    assert '"name": "worker 0"' in body


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    proxy = Running.stand_in(tmp_path, "well", "--concurrency", "1", admin=str(path))
    try:
        eventually(proxy.ready)
        assert proxy.admin("/ready") == (200, "LIVE")
        assert proxy.admin_address() == str(path)
    finally:
        proxy.stop()


def test_statistics_for_a_browser(proxy: Running) -> None:
    response, body = ask(proxy, "/stats?format=html&filter=server.live")
    assert response.headers["content-type"] == "text/html; charset=UTF-8"
    assert "server.live: 1" in body
    assert "<option selected>html</option>" in body
    status = ask(proxy, "/stats?format=xml")
    assert (status[0].status, status[1]) == (400, "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n")
