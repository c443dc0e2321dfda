"""What a client may say about the server that it wants: it gets into logs, and it may be anything."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.bootstraps import HELLO, bootstrap, file_log, listener, manager
from tests.server.running import Running, eventually
from tests.support.identity import Identity
from tests.support.ports import LOOPBACK
from tests.support.tls_visit import TLS12, TLS13, client, visit

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
LISTENERS = ("bare", "inspected")
LONG = ".".join("x" * 63 for _ in range(3))


class Proxy:
    """One listener that leaves the hello to OpenSSL, and one that looks at it before."""

    def __init__(self, directory: Path) -> None:
        self.access_log = directory / "access.log"
        who = Identity.root("server")
        own = {"certificate_chain": {"inline_string": who.pem}, "private_key": {"inline_string": who.key_pem}}
        tls = {"@type": TLS, "common_tls_context": {"tls_certificates": [own]}}
        listeners = []
        for name in LISTENERS:
            log = file_log(str(self.access_log), "name=[%REQUESTED_SERVER_NAME%]")
            web = listener(name, 0, manager(name, HELLO, access_log=[log]))
            web["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": tls}
            if name == "inspected":
                web["listener_filters"] = [{"name": "tls", "typed_config": {"@type": INSPECTOR}}]
            listeners.append(web)
        self.running = Running.real(directory, bootstrap(listeners, []), "--concurrency", "1")
        eventually(lambda: self.running.ready() or self.running.process.poll() is not None)

    def lines(self) -> list[str]:
        return self.access_log.read_text().splitlines() if self.access_log.exists() else []

    def everything_said(self) -> str:
        return self.running.said() + self.running.output.read_text("utf-8", "replace")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    made = Proxy(tmp_path_factory.mktemp("names"))
    yield made
    made.running.stop()


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
@pytest.mark.parametrize("on", LISTENERS)
@pytest.mark.parametrize(
    ("name", "logged"),
    [
        ("A_b.test", "a_b.test"),
        ("a\r\nname=[forged]", "invalid:a__name__forged_"),
        ("a\x1b[2Jb", "invalid:a__2jb"),
        ('a" b', "invalid:a__b"),
        ("a:80", "invalid:a_80"),
        (LONG, LONG),
    ],
)
def test_a_name_stays_in_its_line(proxy: Proxy, on: str, name: str, logged: str, version: ssl.TLSVersion) -> None:
    before = len(proxy.lines())
    assert visit(proxy.running.port(on), client(version=version), name=name).status == 200
    eventually(lambda: len(proxy.lines()) > before)
    assert proxy.lines()[before:] == [f"name=[{logged if on == 'inspected' else '-'}]"]


def hello(name: bytes) -> bytes:
    """A ClientHello for a name that no client of ours would send, of at most 63 bytes."""
    stand_in = b"x" * len(name)
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=stand_in.decode()).do_handshake()
    made = outgoing.read()
    assert made.count(stand_in) == 1
    return made.replace(stand_in, name)


@pytest.mark.parametrize("on", LISTENERS)
@pytest.mark.parametrize(
    "name",
    [b"\xff\xfe\x80 garbage!", b"a\0b.evil.test.x", b"\xc3\xa4.test.xyz", b"\0" * 15, b"." * 15, b"127.0.0.1......"],
    ids=["bytes", "NUL inside", "UTF-8", "NULs", "dots", "address"],
)
def test_names_that_are_none_do_no_harm(proxy: Proxy, on: str, name: bytes) -> None:
    before = len(proxy.everything_said())
    port = proxy.running.port(on)
    for _ in range(3):
        with socket.create_connection((LOOPBACK, port), timeout=5) as odd, contextlib.suppress(ConnectionError):
            odd.sendall(hello(name))
            odd.recv(1)  # a ServerHello, an alert or the end
    assert visit(port, client(), name="a.test").status == 200
    assert proxy.everything_said()[before:] == ""


@pytest.mark.parametrize("on", LISTENERS)
def test_hellos_that_are_none_do_no_harm(proxy: Proxy, on: str) -> None:
    """A name longer than its field, a length that lies, one record after another that never completes."""
    good, port = hello(b"some.name.test"), proxy.running.port(on)
    at = good.index(b"some.name.test")
    before = len(proxy.everything_said())
    oversized = good[:at] + b"z" * 70000
    lying = good[: at - 2] + b"\xff\xff" + good[at:]
    for odd_bytes in (oversized, lying, good[: at + 3], b"\x16\x03\x01\x00\x00" * 1000, b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection((LOOPBACK, port), timeout=5) as odd, contextlib.suppress(ConnectionError):
            odd.sendall(odd_bytes)
            odd.shutdown(socket.SHUT_WR)
            while odd.recv(65536):
                pass
    assert visit(port, client(), name="a.test").status == 200
    assert proxy.everything_said()[before:] == ""
