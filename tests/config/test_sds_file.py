"""Secrets of the bootstrap, named by TLS contexts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.config.tls import DownstreamTlsConfig
from pyproxy.config.tls_reload import reload_tls
from tests.config.compiling import bootstrap, cluster, compiled, listener
from tests.support.certificates import Authority

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def secrets(authority: Authority, *, inline: bool = True) -> list[dict[str, Any]]:
    chain, key = authority.issue("own", x509.DNSName("own.test"))

    def source(file: str) -> dict[str, str]:
        return {"inline_string": Path(file).read_text()} if inline else {"filename": file}

    return [
        {"name": "own", "tls_certificate": {"certificate_chain": source(chain), "private_key": source(key)}},
        {"name": "ca", "validation_context": {"trusted_ca": source(str(authority.ca))}},
    ]


def config(found: list[dict[str, Any]], own: str = "own", ca: str = "ca") -> dict[str, Any]:
    common = {
        "tls_certificate_sds_secret_configs": [{"name": own}],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "own.test"}}]
            },
            "validation_context_sds_secret_config": {"name": ca},
        },
    }
    socket = {"@type": f"{TLS}DownstreamTlsContext", "common_tls_context": common}
    web = listener()
    web["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": socket}
    made = bootstrap([web], [cluster()])
    made["static_resources"]["secrets"] = found
    return made


def tls_of(made: BootstrapConfig | None) -> DownstreamTlsConfig:
    assert made is not None
    tls = made.listeners[0].filter_chains[0].tls
    assert tls is not None
    return tls


def test_a_context_uses_secrets_of_the_bootstrap(authority: Authority) -> None:
    made, faults, report = compiled(config(secrets(authority)))
    assert not faults
    assert not report.unhonoured
    tls = tls_of(made)
    assert tls.common.certificates[0].chain.startswith(b"-----BEGIN")
    assert tls.common.validation.trusted_ca
    assert tls.common.validation.sans
    assert tls.source is None
    assert made is not None
    assert not made.is_dynamic
    assert "PRIVATE KEY" not in repr(made)


def test_files_of_static_secrets_are_read_again(authority: Authority) -> None:
    made, _, _ = compiled(config(secrets(authority, inline=False)))
    tls = tls_of(made)
    assert tls.source is not None
    assert len(tls.source.files) == 3
    before = tls.common.certificates
    chain, key = authority.issue("later", x509.DNSName("own.test"))
    Path(tls.source.files[0]).write_bytes(Path(chain).read_bytes())
    Path(tls.source.files[1]).write_bytes(Path(key).read_bytes())
    assert reload_tls(tls.source).common.certificates != before


def test_unknown_secrets_are_named(authority: Authority) -> None:
    _, faults, _ = compiled(config(secrets(authority), own="on", ca="own"))
    assert any("static_resources.secrets has no 'on'" in one and "did you mean 'own'" in one for one in faults), faults
    _, faults, _ = compiled(config(secrets(authority), ca="own"))
    assert any("the secret 'own' is no validation_context" in one for one in faults), faults


def test_faulty_secrets_are_named(authority: Authority) -> None:
    found = secrets(authority)
    found[0]["tls_certificate"]["private_key"] = {"inline_string": "no key"}
    _, faults, _ = compiled(config([*found, found[1]]))
    assert any(one.startswith("static_resources.secrets[0].tls_certificate") for one in faults), faults
    assert any("secrets[1] is a secret of the name 'ca' already" in one for one in faults), faults
