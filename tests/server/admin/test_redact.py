from __future__ import annotations

import base64
import json
from typing import Any

from pyproxy.config.load import load_message
from pyproxy.server.admin.redact import as_dict

BLOT = "[redacted]"
CONTEXT = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


def shown(text: str, type_name: str) -> dict[str, Any]:
    return as_dict(load_message(text, "test.yaml", type_name).message)


def test_private_keys_are_blotted_and_certificates_are_not() -> None:
    certificate = shown(
        """
        certificate_chain: {inline_string: public}
        private_key: {inline_string: hidden}
        password: {inline_bytes: aGlkZGVu}
        """,
        "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
    )
    assert certificate == {
        "certificate_chain": {"inline_string": "public"},
        "private_key": {"inline_string": BLOT},
        "password": {"inline_bytes": base64.b64encode(BLOT.encode()).decode()},
    }


def test_a_secret_inside_an_any_inside_a_listener() -> None:
    listener = shown(
        f"""
        name: web
        filter_chains:
        - transport_socket:
            name: tls
            typed_config:
              "@type": {CONTEXT}
              common_tls_context:
                tls_certificates:
                - private_key: {{filename: /hidden/key.pem}}
        """,
        "envoy.config.listener.v3.Listener",
    )
    assert "hidden" not in json.dumps(listener)
    assert listener["name"] == "web"
    context = listener["filter_chains"][0]["transport_socket"]["typed_config"]
    assert context["@type"] == CONTEXT
    assert context["common_tls_context"]["tls_certificates"] == [{"private_key": {"filename": BLOT}}]


def test_a_secret_inside_a_typed_struct() -> None:
    listener = shown(
        f"""
        filter_chains:
        - transport_socket:
            name: tls
            typed_config:
              "@type": type.googleapis.com/xds.type.v3.TypedStruct
              type_url: {CONTEXT}
              value:
                common_tls_context:
                  tls_certificates:
                  - private_key: {{inline_string: hidden}}
        """,
        "envoy.config.listener.v3.Listener",
    )
    assert "hidden" not in json.dumps(listener)
    assert BLOT in json.dumps(listener)


def test_what_is_not_secret_is_shown_as_it_was_written() -> None:
    cluster = shown(
        "{name: up, type: STRICT_DNS, connect_timeout: 0.25s, metadata: {filter_metadata: {a: {b: [1, x]}}}}",
        "envoy.config.cluster.v3.Cluster",
    )
    assert cluster == {
        "name": "up",
        "type": "STRICT_DNS",
        "connect_timeout": "0.250s",
        "metadata": {"filter_metadata": {"a": {"b": [1, "x"]}}},
    }
