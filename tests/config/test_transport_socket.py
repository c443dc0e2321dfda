from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.proxy_header import PassedTlvs, ProxyHeaderConfig
from pyproxy.config.tls import PassedMetadata
from pyproxy.config.transport_socket import PLAIN, UpstreamSocket, compile_downstream_socket, compile_upstream_socket
from pyproxy.config.view import View
from tests.config.compiling import as_yaml, unread, view
from tests.support.certificates import Authority

SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets."
RAW = {"@type": f"{SOCKETS}raw_buffer.v3.RawBuffer"}
TLS = {"@type": f"{SOCKETS}tls.v3.UpstreamTlsContext", "sni": "a"}
INTERNAL = f"{SOCKETS}internal_upstream.v3.InternalUpstreamTransport"
HEADER = f"{SOCKETS}proxy_protocol.v3.ProxyProtocolUpstreamTransport"


def socket(typed: dict[str, Any]) -> dict[str, Any]:
    return {"transport_socket": {"name": "s", "typed_config": typed}}


def header(inner: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"@type": HEADER, "config": config, **socket(inner)}


def test_a_header_goes_before_what_it_wraps() -> None:
    passed = {"match_type": "INCLUDE", "tlv_type": [1]}
    typed = header(TLS, version="V2", pass_through_tlvs=passed, added_tlvs=[{"type": 2, "value": "YQ=="}])
    seen = view("envoy.config.cluster.v3.Cluster", as_yaml(socket(typed)))
    tls, before, _ = compile_upstream_socket(seen)
    assert tls is not None
    assert tls.sni == "a"
    assert before == ProxyHeaderConfig(2, PassedTlvs(False, frozenset((1,))), ((2, b"a"),))
    assert unread(seen) == []


def test_metadata_goes_along_to_internal_listeners() -> None:
    passed = [{"kind": {"host": {}}, "name": "a"}, {"kind": {"cluster": {}}, "name": "b"}]
    typed = {"@type": INTERNAL, "passthrough_metadata": passed, **socket(header(TLS, version="V2"))}
    seen = view("envoy.config.cluster.v3.Cluster", as_yaml(socket(typed)))
    found = compile_upstream_socket(seen)
    assert found.tls is not None
    assert found.header is not None
    assert found.passed == (PassedMetadata(True, "a"), PassedMetadata(False, "b"))
    assert unread(seen) == []


def test_a_header_in_plain_text() -> None:
    seen = view("envoy.config.cluster.v3.Cluster", as_yaml(socket(header(RAW))))
    assert compile_upstream_socket(seen) == UpstreamSocket(header=ProxyHeaderConfig())


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        (header(header(RAW)), "sends a PROXY header too"),
        (
            {"@type": INTERNAL, "passthrough_metadata": [{"kind": {"route": {}}, "name": "a"}], **socket(RAW)},
            "is 'route', which a connection has none of",
        ),
        (header({"@type": f"{SOCKETS}alts.v3.Alts", "handshaker_service": "a"}), "alts.v3.Alts is not supported"),
        (header(RAW, added_tlvs=[{"type": 1, "format_string": {"text_format": "a"}}]), "formatted are not supported"),
    ],
)
def test_what_cannot_be_is_a_fault(typed: dict[str, Any], fault: str) -> None:
    seen = view("envoy.config.cluster.v3.Cluster", as_yaml(socket(typed)))
    with pytest.raises(InvalidConfig, match=fault):
        _compile_and_raise(seen)


def _compile_and_raise(seen: View) -> None:
    compile_upstream_socket(seen)
    seen.report.raise_if_faulty()


def test_what_can_become_tls_begins_in_plain_text(tmp_path: Path) -> None:
    chain, key = Authority(tmp_path).issue("a")
    own = {"tls_certificates": [{"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}]}
    down = {"@type": f"{SOCKETS}starttls.v3.StartTlsConfig", "tls_socket_config": {"common_tls_context": own}}
    up = {"@type": f"{SOCKETS}starttls.v3.UpstreamStartTlsConfig", "tls_socket_config": {"sni": "a"}}
    seen = view("envoy.config.listener.v3.FilterChain", as_yaml(socket(down)))
    assert compile_downstream_socket(seen) is None
    assert unread(seen) == []
    seen = view("envoy.config.cluster.v3.Cluster", as_yaml(socket(up)))
    assert compile_upstream_socket(seen) == PLAIN
    assert unread(seen) == []
    bad = {**down, "tls_socket_config": {}}
    with pytest.raises(InvalidConfig, match="common_tls_context"):
        compile_downstream_socket(view("envoy.config.listener.v3.FilterChain", as_yaml(socket(bad))))
