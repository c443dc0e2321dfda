from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from pyproxy import openssl
from tests.support.identity import Identity

pytestmark = pytest.mark.skipif(not openssl.usable(), reason="needs a Python whose OpenSSL can be called")


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None, name: str | None = None
) -> ssl.SSLObject:
    """The client's side of one, done. Raises ssl.SSLError as the server does."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(down, up, server_hostname=name, session=session),
        server.wrap_bio(up, down, server_side=True),
    )
    waiting = list(ends)
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    ends[1].write(b"x")
    assert ends[0].read(1) == b"x"  # and with it the tickets of TLS 1.3
    return ends[0]


@pytest.fixture
def root() -> Identity:
    return Identity.root("root")


@pytest.fixture
def server(root: Identity, tmp_path: Path) -> openssl.Context:
    context = openssl.Context(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*root.issue("server").save(tmp_path, "server"))
    return context


@pytest.fixture
def client(root: Identity, tmp_path: Path) -> openssl.Context:
    context = openssl.Context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(*root.issue("client").save(tmp_path, "client"))
    return context


def test_groups_and_ciphers(server: openssl.Context, client: openssl.Context) -> None:
    openssl.set_groups(server, "P-384:X25519")
    openssl.set_tls13_ciphers(server, "TLS_CHACHA20_POLY1305_SHA256")
    assert handshake(server, client).cipher() == ("TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3", 256)
    openssl.set_groups(client, "P-521")
    with pytest.raises(ssl.SSLError):
        handshake(server, client)


@pytest.mark.parametrize("set_list", [openssl.set_groups, openssl.set_signature_algorithms, openssl.set_tls13_ciphers])
def test_what_is_unknown_is_refused(server: openssl.Context, set_list: object) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        set_list(server, "nonsense")  # type: ignore[operator]


def test_who_has_the_same_key_can_resume(root: Identity, client: openssl.Context, tmp_path: Path) -> None:
    pair = root.issue("server").save(tmp_path, "one")
    servers = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(3)]
    for server, key in zip(servers, (b"a", b"a", b"b"), strict=True):
        server.load_cert_chain(*pair)
        openssl.set_ticket_key(server, key * openssl.TICKET_KEY_BYTES)
    session = handshake(servers[0], client).session
    assert handshake(servers[1], client, session).session_reused
    assert not handshake(servers[2], client, session).session_reused


@pytest.mark.parametrize("wanted", [True, False])
def test_who_is_let_in_is_our_decision(server: openssl.Context, client: openssl.Context, wanted: bool) -> None:
    seen: list[bytes] = []

    def verify(presented: openssl.Presented) -> bool:
        seen.append(presented.leaf)
        return wanted

    openssl.verify_with(server, verify)
    server.verify_mode = ssl.CERT_REQUIRED
    if wanted:
        handshake(server, client)
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(server, client)
    assert len(seen) == 1
    assert seen[0][0] == 0x30  # the beginning of every certificate


def test_what_cannot_be_checked_is_refused(
    server: openssl.Context, client: openssl.Context, caplog: pytest.LogCaptureFixture
) -> None:
    def verify(presented: openssl.Presented) -> bool:
        raise RuntimeError("no")

    openssl.verify_with(server, verify)
    server.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client)
    assert "could not be checked" in caplog.text


def test_the_reason_is_told(server: openssl.Context, client: openssl.Context) -> None:
    openssl.verify_with(server, lambda presented: presented.refuse(10))  # X509_V_ERR_CERT_HAS_EXPIRED
    server.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        handshake(server, client)


def test_other_authorities_can_be_asked(root: Identity, server: openssl.Context, client: openssl.Context) -> None:
    trusts = [ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) for _ in range(2)]
    trusts[0].load_verify_locations(cadata=root.pem)
    trusts[1].load_verify_locations(cadata=Identity.root("root").pem)
    found: list[bool] = []

    def verify(presented: openssl.Presented) -> bool:
        found.extend(presented.issued_by(trust) for trust in trusts)
        return True

    openssl.verify_with(server, verify)
    server.verify_mode = ssl.CERT_REQUIRED
    handshake(server, client)
    assert found == [True, False]


def test_sessions_are_kept_and_resumed(server: openssl.Context, client: openssl.Context) -> None:
    kept: list[tuple[str, bytes, bool]] = []
    asked: list[str] = []

    def take(name: str) -> bytes | None:
        asked.append(name)
        return kept[-1][1] if kept else None

    openssl.resume_with(client, take, lambda *one: kept.append(one))
    reused = [handshake(server, client, name="a.test").session_reused for _ in range(3)]
    assert reused == [False, True, True]
    assert asked == ["a.test"] * 3
    assert {(name, once) for name, _, once in kept} == {("a.test", True)}
    assert len({session for _, session, _ in kept}) == len(kept)


def test_a_session_of_tls_1_2_can_be_used_again(server: openssl.Context, client: openssl.Context) -> None:
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    kept: list[tuple[str, bytes, bool]] = []
    openssl.resume_with(client, lambda _: kept[-1][1] if kept else None, lambda *one: kept.append(one))
    reused = [handshake(server, client).session_reused for _ in range(3)]
    assert reused == [False, True, True]
    assert [(name, once) for name, _, once in kept] == [("", False)]


@pytest.mark.parametrize("kept", [b"", b"0", b"0\x03\x02\x01\x01", None])
def test_what_cannot_be_resumed_hinders_nobody(
    server: openssl.Context, client: openssl.Context, kept: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> bytes:
        raise RuntimeError("no")

    openssl.resume_with(client, lambda _: fail() if kept is None else kept, lambda *_: None)
    assert not handshake(server, client).session_reused
    assert bool(caplog.records) is (kept is None)


def test_what_cannot_be_kept_hinders_nobody(
    server: openssl.Context, client: openssl.Context, caplog: pytest.LogCaptureFixture
) -> None:
    def keep(name: str, session: bytes, once: bool) -> None:
        raise RuntimeError("no")

    openssl.resume_with(client, lambda _: None, keep)
    assert not handshake(server, client).session_reused
    assert "a session is not kept" in caplog.text
