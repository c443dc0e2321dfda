from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pyproxy import openssl
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.tls_compile import compile_downstream_tls, compile_upstream_tls
from pyproxy.config.view import View
from tests.config.compiling import as_yaml, problems, unread, view
from tests.support.certificates import Authority
from tests.support.identity import PAST, Identity

TLS = "envoy.extensions.transport_sockets.tls.v3."
SPIFFE = f"type.googleapis.com/{TLS}SPIFFECertValidatorConfig"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def pair(chain: str, key: str) -> dict[str, Any]:
    return {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}


def spiffe(domains: list[tuple[str, str]], **more: Any) -> dict[str, Any]:
    """Where a bundle is `ca`, it is a good one."""
    bundles = [(name, Identity.root("ca").pem if bundle == "ca" else bundle) for name, bundle in domains]
    config = {"trust_domains": [{"name": name, "trust_bundle": {"inline_string": text}} for name, text in bundles]}
    return {"custom_validator_config": {"name": "s", "typed_config": {"@type": SPIFFE, **config}}, **more}


def bundles(data: dict[str, Any]) -> dict[str, Any]:
    config = {"trust_bundles": {"inline_string": json.dumps(data)}}
    return {"custom_validator_config": {"name": "s", "typed_config": {"@type": SPIFFE, **config}}}


def san(kind: str) -> dict[str, Any]:
    return {"match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": "a"}}]}


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
        ({"tls_params": {"ecdh_curves": ["P-256", "P-999"]}}, "ecdh_curves: OpenSSL does not know"),
        ({"tls_params": {"signature_algorithms": ["md5"]}}, "signature_algorithms: OpenSSL does not know"),
        ({"validation_context": spiffe([("a", "x")])}, "trust_bundle: holds no certificate"),
        ({"validation_context": spiffe([("a", "ca"), ("a", "ca")])}, "trust_domains: holds two bundles for a"),
        ({"validation_context": spiffe([])}, "trust_domains: is empty"),
        (
            {"validation_context": spiffe([("a", "ca")], verify_certificate_hash=["0" * 64])},
            "not looked at by the SPIFFE",
        ),
        ({"validation_context": spiffe([("a", "ca")], **san("DNS"))}, "not looked at by the SPIFFE"),
        ({"validation_context": bundles({})}, "is no map of SPIFFE bundles: KeyError"),
        ({"validation_context": bundles({"trust_domains": {}})}, "holds no trust domain"),
        ({"validation_context": bundles({"trust_domains": {"a": {"keys": []}}})}, "holds no x509-svid key for a"),
        ({"validation_context": {"custom_validator_config": {"name": "x"}}}, "the validator none is not supported"),
    ],
)
def test_what_cannot_be_is_a_fault(common: dict[str, Any], fault: str) -> None:
    seen = view(f"{TLS}DownstreamTlsContext", as_yaml({"common_tls_context": common}))
    with pytest.raises(InvalidConfig, match=fault):
        compile_and_raise(seen)


def compile_and_raise(seen: View) -> None:
    """All that is wrong, together."""
    try:
        compile_downstream_tls(seen)
    except InvalidConfig as error:
        seen.report.faults.extend(error.faults)
    seen.report.raise_if_faulty()


def test_the_key_has_to_be_that_of_the_certificate(authority: Authority) -> None:
    mixed = pair(authority.issue("a")[0], authority.issue("b")[1])
    seen = view(f"{TLS}UpstreamTlsContext", as_yaml({"common_tls_context": {"tls_certificates": [mixed]}}))
    compile_upstream_tls(seen)
    with pytest.raises(InvalidConfig, match=r"tls_certificates\[0\].private_key: is not the key"):
        seen.report.raise_if_faulty()


def test_an_ocsp_response_is_about_the_certificate() -> None:
    root = Identity.root("root")
    who, other = root.issue("a"), root.issue("b")

    def compiled(staple: bytes | None, **more: Any) -> None:
        own = {"certificate_chain": {"inline_string": who.pem}, "private_key": {"inline_string": who.key_pem}}
        if staple is not None:
            own["ocsp_staple"] = {"inline_bytes": base64.b64encode(staple).decode()}
        seen = view(f"{TLS}DownstreamTlsContext", as_yaml({"common_tls_context": {"tls_certificates": [own]}, **more}))
        compile_downstream_tls(seen)
        seen.report.raise_if_faulty()

    compiled(root.vouch(who))
    compiled(root.vouch(who, PAST))
    with pytest.raises(InvalidConfig, match="is about another certificate"):
        compiled(root.vouch(other))
    with pytest.raises(InvalidConfig, match="is no successful response"):
        compiled(b"x")
    with pytest.raises(InvalidConfig, match="has no ocsp_staple"):
        compiled(None, ocsp_staple_policy="MUST_STAPLE")


def test_ticket_keys_have_their_size(authority: Authority) -> None:
    common = {"tls_certificates": [pair(*authority.issue("a"))]}
    keys = {"keys": [{"inline_string": "x" * 80}, {"inline_string": "y" * 79}]}
    seen = view(f"{TLS}DownstreamTlsContext", as_yaml({"common_tls_context": common, "session_ticket_keys": keys}))
    with pytest.raises(InvalidConfig, match="holds a key of 79 bytes"):
        compile_downstream_tls(seen)


def test_the_parts_of_an_rsa_key_have_to_fit_together() -> None:
    made = Identity.root("root").issue("a", rsa_bits=2048)
    numbers = made.key.private_numbers()
    broken = rsa.RSAPrivateNumbers(
        p=numbers.p,
        q=numbers.q,
        d=numbers.d ^ 2,  # both: OpenSSL checks the quick way, and falls back to the other
        dmp1=numbers.dmp1 ^ 2,
        dmq1=numbers.dmq1,
        iqmp=numbers.iqmp,
        public_numbers=numbers.public_numbers,
    )
    key = broken.private_key(unsafe_skip_rsa_key_validation=True)
    for private, fits in ((made.key_pem, True), (Identity(key, made.certificate).key_pem, False)):
        certificate = {"certificate_chain": {"inline_string": made.pem}, "private_key": {"inline_string": private}}
        seen = view(f"{TLS}DownstreamTlsContext", as_yaml({"common_tls_context": {"tls_certificates": [certificate]}}))
        compile_downstream_tls(seen)
        assert [("is broken" in one) for one in problems(seen)] == ([] if fits else [True])


@pytest.mark.parametrize(
    ("common", "more"),
    [
        ({"tls_params": {"ecdh_curves": ["X25519"]}}, {}),
        ({"validation_context": {"verify_certificate_hash": ["0" * 64]}}, {}),
        ({"validation_context": spiffe([("a", "ca")])}, {}),
        ({}, {"session_timeout": "5s"}),
        ({}, {"session_ticket_keys": {"keys": [{"inline_string": "x" * 80}]}}),
    ],
)
def test_what_needs_more_than_the_ssl_module_says_so(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, common: dict[str, Any], more: dict[str, Any]
) -> None:
    monkeypatch.setattr(openssl, "usable", lambda: False)
    whole = {"tls_certificates": [pair(*authority.issue("a"))], **common}
    seen = view(f"{TLS}DownstreamTlsContext", as_yaml({"common_tls_context": whole, **more}))
    with pytest.raises(InvalidConfig, match="need a Python whose OpenSSL can be called"):
        compile_and_raise(seen)
