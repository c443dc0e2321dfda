"""x-forwarded-client-cert: what an upstream is told of the certificate of the downstream.

Envoy: HTTP header sanitising, x-forwarded-client-cert. Security posture: without a certificate that was checked nothing
that a downstream says of certificates is passed on, unless ALWAYS_FORWARD_ONLY says so.
"""

from __future__ import annotations

from typing import Any, Final

from pyproxy.filters.network.http_connection_manager.config import ForwardingOptions
from pyproxy.http.message import Headers

XFCC: Final = b"x-forwarded-client-cert"
_PEM_ESCAPES: Final = str.maketrans({"\n": "%0A", " ": "%20", "+": "%2B", "/": "%2F", "=": "%3D"})


class ClientCertForwarding:
    """Forwards, sets, appends or removes the header as one connection manager is configured to."""

    __slots__ = ("_appends", "_details", "_mode", "adds")

    def __init__(self, forwarding: ForwardingOptions) -> None:
        self._mode = forwarding.forward_client_cert
        self._details = forwarding.client_cert_details
        self._appends = self._mode == "APPEND_FORWARD"
        self.adds = self._mode in ("APPEND_FORWARD", "SANITIZE_SET")
        """A request without the header gets one if its downstream has shown a certificate."""

    def __call__(self, headers: Headers, tls: Any) -> None:
        """`tls` are the facts of the connection (`network.transport_sockets.tls_arrival`), None for plain text."""
        mode = self._mode
        if mode == "ALWAYS_FORWARD_ONLY":
            return
        if mode == "SANITIZE" or tls is None or not tls.peer_presented:
            headers.remove(XFCC)
            return
        if not self.adds:
            return
        element = tls.xfcc
        if element is None:  # the same for all requests of a connection
            element = tls.xfcc = _element(tls, self._details)
        came = headers.joined(XFCC) if self._appends else None
        headers.set(XFCC, came + b"," + element if came else element)


def _element(tls: Any, details: tuple[str, ...]) -> bytes:
    """One element: our name, the certificate's hash, and what else is wanted, in Envoy's order."""
    parts = [f"By={uri}" for uri in tls.local_uri_sans]
    parts.append(f"Hash={tls.peer_digest}")
    for detail in details:
        match detail:
            case "cert":
                parts.append(f'Cert="{tls.peer_pem.translate(_PEM_ESCAPES)}"')
            case "chain":
                parts.append(f'Chain="{tls.peer_chain_pem.translate(_PEM_ESCAPES)}"')
            case "subject":
                parts.append(f'Subject="{tls.peer_subject}"')  # quotes in it are escaped
            case "uri":
                parts.extend([f"URI={uri}" for uri in tls.peer_sans("URI")] or ["URI="])
            case "dns":
                parts.extend(f"DNS={name}" for name in tls.peer_sans("DNS"))
            case _:
                raise AssertionError(detail)
    return ";".join(parts).encode()
