from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from pyproxy import openssl
from pyproxy.config.tls import DownstreamTlsConfig, PeerValidation, SessionConfig, TlsCertificate, TlsConfig
from pyproxy.network.transport_sockets.sessions import Sessions, let_resume
from tests.support.identity import Identity
from tests.test_openssl import handshake

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])


@pytest.fixture
def who() -> Identity:
    return Identity.root("root").issue("server")


def config(who: Identity, **fields: object) -> DownstreamTlsConfig:
    return DownstreamTlsConfig(TlsConfig((TlsCertificate(who.pem.encode(), b""),)), **fields)  # type: ignore[arg-type]


def context(who: Identity, directory: Path, made: DownstreamTlsConfig) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(*who.save(directory, "server"))
    let_resume(found, made)
    return found


@pytest.fixture
def client() -> ssl.SSLContext:
    found = openssl.Context(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
    return found


@versions
@pytest.mark.skipif(not openssl.usable(), reason="needs a Python whose OpenSSL can be called")
def test_what_another_worker_began_is_resumed_under_the_same_configuration(
    who: Identity, client: ssl.SSLContext, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    client.maximum_version = version
    first = config(who)
    session = handshake(context(who, tmp_path, first), client).session
    assert handshake(context(who, tmp_path, config(who)), client, session).session_reused
    other = replace(first.common, validation=PeerValidation(trusted_ca="other"))
    for changed in (
        replace(first, require_client_certificate=True),
        replace(first, common=other),
        replace(first, sessions=SessionConfig(ticket_key=bytes(80))),
        replace(first, sessions=SessionConfig(tickets=False)),
    ):
        assert not handshake(context(who, tmp_path, changed), client, session).session_reused


def test_the_newest_session_of_a_name_is_taken() -> None:
    kept = Sessions(2)
    for session in (b"1", b"2", b"3"):
        kept.keep("a", session, False)
    assert kept.take("b") is None
    assert [kept.take("a") for _ in range(3)] == [b"3"] * 3


def test_one_for_once_is_taken_once() -> None:
    kept = Sessions(2)
    for session in (b"1", b"2", b"3"):
        kept.keep("a", session, True)
    assert [kept.take("a") for _ in range(3)] == [b"3", b"2", None]


def test_none_is_left_when_a_peer_was_refused() -> None:
    kept = Sessions(1)
    kept.keep("a", b"1", False)
    kept.clear()
    assert kept.take("a") is None


def test_names_do_not_pile_up() -> None:
    kept = Sessions(1)
    for at in range(1000):
        kept.keep(f"{at}", b"1", False)
    assert kept.take("0") is None
    assert kept.take("999") == b"1"
