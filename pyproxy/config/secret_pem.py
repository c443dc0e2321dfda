"""The certificates in a secret of SDS, without making anything of it."""

from __future__ import annotations

from typing import Any, Final

from pyproxy.config.descriptors import message_class

_SECRET: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"


def secret_certificates(body: bytes) -> tuple[str, list[bytes]]:
    """The name of the secret, and its chain and CA in PEM, where they are in it and not in files."""
    secret: Any = message_class(_SECRET).FromString(body)
    found = [secret.tls_certificate.certificate_chain, secret.validation_context.trusted_ca]
    return secret.name, [pem for pem in (one.inline_bytes or one.inline_string.encode() for one in found) if pem]
