from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.tls_compile import compile_downstream_tls, compile_upstream_tls
from tests.config.compiling import as_yaml, unread, view
from tests.support.certificates import Authority

TLS = "envoy.extensions.transport_sockets.tls.v3."


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def pair(chain: str, key: str) -> dict[str, Any]:
    return {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}


def test_a_key_is_never_shown(authority: Authority) -> None:
    common = {"tls_certificates": [pair(*authority.issue("a"))], "alpn_protocols": ["http/1.1"]}
    seen = view(f"{TLS}DownstreamTlsContext", as_yaml({"common_tls_context": common}))
    value = compile_downstream_tls(seen)
    assert value.common.alpn == ("http/1.1",)
    assert value.common.certificates[0].private_key.startswith(b"-----BEGIN PRIVATE KEY")
    assert "PRIVATE" not in repr(value)
    assert unread(seen) == []


def test_what_is_not_read_is_listed() -> None:
    seen = view(f"{TLS}UpstreamTlsContext", as_yaml({"sni": "a", "allow_renegotiation": True}))
    assert compile_upstream_tls(seen).sni == "a"
    assert unread(seen) == ["allow_renegotiation"]


@pytest.mark.parametrize(
    ("common", "fault"),
    [
        ({}, "common_tls_context: has no certificate"),
        ({"tls_params": {"tls_minimum_protocol_version": "TLSv1_0"}}, "TLSv1_0 is not safe"),
        ({"tls_params": {"cipher_suites": ["NONSENSE"]}}, "cipher_suites: OpenSSL knows none"),
        ({"custom_handshaker": {"name": "h"}}, "custom_handshaker: is not"),
        ({"validation_context": {"match_subject_alt_names": [{"exact": "a"}]}}, "only with a trusted_ca"),
        ({"validation_context": {"trusted_ca": {"inline_string": "x"}}}, "trusted_ca: holds no certificate"),
        ({"validation_context": {"verify_certificate_hash": ["z" * 64]}}, "is not a SHA-256 sum"),
    ],
)
def test_what_cannot_be_is_a_fault(common: dict[str, Any], fault: str) -> None:
    seen = view(f"{TLS}DownstreamTlsContext", as_yaml({"common_tls_context": common}))
    with pytest.raises(InvalidConfig, match=fault):
        compile_downstream_tls(seen)


def test_the_key_has_to_be_that_of_the_certificate(authority: Authority) -> None:
    mixed = pair(authority.issue("a")[0], authority.issue("b")[1])
    seen = view(f"{TLS}UpstreamTlsContext", as_yaml({"common_tls_context": {"tls_certificates": [mixed]}}))
    compile_upstream_tls(seen)
    with pytest.raises(InvalidConfig, match=r"tls_certificates\[0\].private_key: is not the key"):
        seen.report.raise_if_faulty()
