"""Compiles how TLS sessions are resumed: protobuf -> `config.tls.SessionConfig`. Envoy: DownstreamTlsContext."""

from __future__ import annotations

from typing import Final

from pyproxy import openssl
from pyproxy.config.data_source import read_data_source
from pyproxy.config.tls import SessionConfig
from pyproxy.config.view import View

_MOST_SECONDS: Final = 2**31 - 1


def compile_sessions(view: View) -> SessionConfig:
    """Of a `DownstreamTlsContext`."""
    stateful_off = bool(view.scalar("disable_stateful_session_resumption"))
    seconds = view.seconds("session_timeout")
    chosen = view.oneof("session_ticket_keys_type")
    key = b""
    if chosen == "session_ticket_keys_sds_secret_config":
        view.fail(
            chosen, "keys for session tickets from a secret are not supported yet", expected="session_ticket_keys"
        )
    if chosen == "session_ticket_keys":
        key = _ticket_key(view.need(chosen))
    tickets = not (chosen == "disable_stateless_session_resumption" and view.scalar(chosen))
    if seconds is not None and seconds > _MOST_SECONDS:
        view.fail("session_timeout", f"is more than {_MOST_SECONDS} s")
    if (stateful_off or seconds is not None or key) and not openssl.usable():
        view.fail("", "session_timeout, disable_stateful_session_resumption and session_ticket_keys " + NEEDS_OPENSSL)
    return SessionConfig(tickets, not stateful_off, int(seconds or 0), key)


NEEDS_OPENSSL: Final = "need a Python whose OpenSSL can be called: CPython 3.11 to 3.14 with a shared libssl"


def _ticket_key(view: View) -> bytes:
    """The first of the keys. The others would only be for tickets that another process has issued with them, and who
    brings such a one gets a full handshake."""
    keys = view.each("keys", read_data_source)
    for key in keys:
        if len(key) != openssl.TICKET_KEY_BYTES:
            view.fail("keys", f"holds a key of {len(key)} bytes", expected=f"{openssl.TICKET_KEY_BYTES} bytes")
    return keys[0]
