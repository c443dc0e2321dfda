"""`pyproxy certs`: files, modes, names, and that they verify."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from pyproxy.server import certs, cli


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_leaf_verifies_against_the_ca_as_server_and_as_client(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    assert cli.main(["certs", "--dir", str(directory), "web"]) == 0
    leaf = read(directory / "web.pem")
    policy = PolicyBuilder().store(Store([read(directory / "ca.pem")]))
    policy.build_server_verifier(x509.DNSName("web")).verify(leaf, [])
    names = policy.build_client_verifier().verify(leaf, []).subjects
    assert names == [x509.UniformResourceIdentifier("spiffe://cluster.local/web"), x509.DNSName("web")]


def test_a_leaf_is_what_a_workload_needs_and_no_more(tmp_path: Path) -> None:
    assert certs.main(["--dir", str(tmp_path), "web"]) == 0
    leaf, ca = read(tmp_path / "web.pem"), read(tmp_path / "ca.pem")
    of = leaf.extensions.get_extension_for_class
    assert not of(x509.BasicConstraints).value.ca
    assert of(x509.KeyUsage).value.digital_signature
    assert not of(x509.KeyUsage).value.key_cert_sign
    assert set(of(x509.ExtendedKeyUsage).value) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert of(x509.AuthorityKeyIdentifier).value.key_identifier == own.digest
    assert timedelta(days=29) < leaf.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=30)
    key = load_pem_private_key((tmp_path / "web-key.pem").read_bytes(), None)
    assert key.public_key() == leaf.public_key()


def test_modes(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    certs.main(["--dir", str(directory), "web"])
    assert mode(directory) == 0o700
    assert {path.name: mode(path) for path in directory.iterdir()} == {
        "ca.pem": 0o644,
        "ca-key.pem": 0o600,
        "web.pem": 0o644,
        "web-key.pem": 0o600,
    }


def test_the_kinds_of_id(tmp_path: Path) -> None:
    words = ["--trust-domain=td", "--dir", str(tmp_path), "spiffe://x/ns/a/sa/b", "a.example.com", "web"]
    assert certs.main(words) == 0
    san = [
        [name.value for name in read(tmp_path / f"{file}.pem").extensions.get_extension_for_class(kind).value]
        for file in ("ns-a-sa-b", "a.example.com", "web")
        for kind in [x509.SubjectAlternativeName]
    ]
    assert san == [["spiffe://x/ns/a/sa/b"], ["a.example.com"], ["spiffe://td/web", "web"]]


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certs.main(["--dir", str(tmp_path), "web"])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert certs.main(["--dir", str(tmp_path), "api", "web"]) == 1
    assert f"{tmp_path}/web.pem is there" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_renew_makes_a_new_leaf_of_the_same_ca(tmp_path: Path) -> None:
    certs.main(["--dir", str(tmp_path), "web"])
    ca, leaf = (tmp_path / "ca.pem").read_bytes(), read(tmp_path / "web.pem")
    assert certs.main(["--dir", str(tmp_path), "--renew", "web"]) == 0
    assert (tmp_path / "ca.pem").read_bytes() == ca
    assert read(tmp_path / "web.pem").serial_number != leaf.serial_number
    assert len(list(tmp_path.iterdir())) == 4


def test_the_snippet_is_yaml_that_names_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "a, b}"
    certs.main(["--dir", str(directory), "web"])
    shown = yaml.safe_load(capsys.readouterr().out.partition("\n\n")[2])
    common = shown["transport_socket"]["typed_config"]["common_tls_context"]
    assert common["tls_certificates"][0]["private_key"]["filename"] == str(directory / "web-key.pem")
    assert common["validation_context"]["trusted_ca"]["filename"] == str(directory / "ca.pem")


def test_half_a_ca_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certs.main(["--dir", str(tmp_path), "web"])
    (tmp_path / "ca-key.pem").unlink()
    assert certs.main(["--dir", str(tmp_path), "api"]) == 1
    assert "ca-key.pem is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["web"], "--dir is needed"),
        (["--dir", "/x"], "which ID?"),
        (["--dri", "/x", "web"], "did you mean '--dir'?"),
        (["--dir", "/x", "--days", "0", "web"], "from 1 to 365"),
        (["--dir", "/x", "spiffe://x"], "is no SPIFFE ID"),
        (["--dir", "/x", "spiffe://x/../y"], "is no SPIFFE ID"),
        (["--dir", "/x", "a/b"], "neither a SPIFFE ID"),
        (["--dir", "/x", "ca"], "would be made twice"),
        (["--dir", "/x", "web", "web"], "would be made twice"),
    ],
)
def test_wrong_usage(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert certs.main(words) == 2
    assert says in capsys.readouterr().err
