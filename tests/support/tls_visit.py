"""A TLS client that asks once for `/` and says what became of it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.identity import Identity
from tests.support.ports import LOOPBACK

TLS12 = ssl.TLSVersion.TLSv1_2
TLS13 = ssl.TLSVersion.TLSv1_3


@dataclass(frozen=True)
class Visit:
    """`status` 0: not served, and `why`."""

    status: int
    why: str = ""
    version: str = ""
    cipher: str = ""
    session: Any = None
    resumed: bool = False


def client(
    who: Identity | None = None, version: ssl.TLSVersion = TLS13, ciphers: str = "DEFAULT:@SECLEVEL=0"
) -> ssl.SSLContext:
    """One that trusts everybody and that sends what it is told, however weak."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings(action="ignore"):  # old versions are what is tested
        context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    if who is not None:
        with tempfile.TemporaryDirectory() as directory:
            context.load_cert_chain(*who.save(Path(directory), "client"))
    return context


def visit(port: int, context: ssl.SSLContext, *, session: Any = None, name: str | None = None) -> Visit:
    """In TLS 1.3 a client may write before the server has made up its mind; so does this one."""
    try:
        with (
            socket.create_connection((LOOPBACK, port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name, session=session) as tls,
        ):
            tls.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            answer = b""
            with contextlib.suppress(ssl.SSLEOFError):
                while data := tls.recv(65536):
                    answer += data
            cipher = tls.cipher()
            facts = (tls.version() or "", cipher[0] if cipher else "", tls.session, bool(tls.session_reused))
            status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
            return Visit(status, "" if status else "closed", *facts)
    except TimeoutError:
        raise
    except OSError as error:
        return Visit(0, getattr(error, "reason", None) or type(error).__name__)
