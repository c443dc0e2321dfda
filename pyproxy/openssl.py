"""What OpenSSL can do and the ssl module has no words for, through ctypes and the library that `_ssl` is linked to.

The `SSL_CTX` of an `ssl.SSLContext` is the first field behind the object's header (CPython 3.11 to 3.14,
Modules/_ssl.c: PySSLContext). `usable` tries that out before anything is done with it. Where it is False (another
interpreter, or OpenSSL inside of it), what needs a function of this file cannot be configured.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import ssl
import sys
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_long, c_uint64, c_void_p
from typing import Any, Final

log = logging.getLogger("pyproxy.openssl")

TICKET_KEY_BYTES: Final = 80
"""A name of 16 bytes, a key for HMAC-SHA256 and one for AES-256 (OpenSSL 3, SSL_CTX_set_tlsext_ticket_keys)."""

SECRET: Final = os.urandom(32)
"""Made before the workers are forked, so that what one of them derives from it the others derive too."""

# ssl.h, tls1.h
_SET_GROUPS_LIST = 92
_SET_SIGALGS_LIST = 98
_SET_SESSION_CACHE_MODE = 44
_SET_TICKET_KEYS = 59
_SET_SERVERNAME_CALLBACK = 53
_SET_STATUS_CALLBACK = 63
_SET_STATUS_RESPONSE = 71
_DONE, _REFUSED, _NOT_DONE = 0, 2, 3  # SSL_TLSEXT_ERR_
_OURS_TO_KEEP = 0x1 | 0x300  # SSL_SESS_CACHE_CLIENT, SSL_SESS_CACHE_NO_INTERNAL
_HOST_NAME = 0  # TLSEXT_NAMETYPE_host_name
_BEGINS = 0x10  # SSL_CB_HANDSHAKE_START
_TLS13 = 0x304

_NEWEST: Final = (3, 14)
_VERIFY: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)
_STATUS: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)
_NEW_SESSION: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)
_INFO: Final = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_int)
_SERVERNAME: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)

_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    # name: (result, *arguments)
    "OpenSSL_version_num": (ctypes.c_ulong,),
    "CRYPTO_malloc": (c_void_p, ctypes.c_size_t, c_char_p, c_int),
    "ERR_clear_error": (None,),
    "SSL_CTX_get_options": (c_uint64, c_void_p),
    "SSL_CTX_ctrl": (c_long, c_void_p, c_int, c_long, c_void_p),
    "SSL_CTX_callback_ctrl": (c_long, c_void_p, c_int, c_void_p),
    "SSL_set_SSL_CTX": (c_void_p, c_void_p, c_void_p),
    "SSL_CTX_set_timeout": (c_long, c_void_p, c_long),
    "SSL_CTX_set_ciphersuites": (c_int, c_void_p, c_char_p),
    "SSL_CTX_set_cert_verify_callback": (None, c_void_p, _VERIFY, c_void_p),
    "SSL_CTX_get_cert_store": (c_void_p, c_void_p),
    "SSL_CTX_set_client_CA_list": (None, c_void_p, c_void_p),
    "SSL_CTX_sess_set_new_cb": (None, c_void_p, _NEW_SESSION),
    "SSL_CTX_set_info_callback": (None, c_void_p, _INFO),
    "SSL_SESSION_free": (None, c_void_p),
    "SSL_SESSION_get_protocol_version": (c_int, c_void_p),
    "SSL_get_servername": (c_char_p, c_void_p, c_int),
    "SSL_set_session": (c_int, c_void_p, c_void_p),
    "SSL_load_client_CA_file": (c_void_p, c_char_p),
    "SSL_ctrl": (c_long, c_void_p, c_int, c_long, c_void_p),
    "SSL_get_certificate": (c_void_p, c_void_p),
    "X509_STORE_CTX_new": (c_void_p,),
    "X509_STORE_CTX_free": (None, c_void_p),
    "X509_STORE_CTX_init": (c_int, c_void_p, c_void_p, c_void_p, c_void_p),
    "X509_STORE_CTX_get0_cert": (c_void_p, c_void_p),
    "X509_STORE_CTX_get0_untrusted": (c_void_p, c_void_p),
    "X509_STORE_CTX_get0_param": (c_void_p, c_void_p),
    "X509_STORE_CTX_get_error": (c_int, c_void_p),
    "X509_STORE_CTX_set_error": (None, c_void_p, c_int),
    "X509_VERIFY_PARAM_set1": (c_int, c_void_p, c_void_p),
    "X509_VERIFY_PARAM_set_flags": (c_int, c_void_p, ctypes.c_ulong),
    "X509_verify_cert": (c_int, c_void_p),
    "d2i_SSL_SESSION": (c_void_p, c_void_p, c_void_p, c_long),
    "i2d_SSL_SESSION": (c_int, c_void_p, c_void_p),
    "i2d_X509": (c_int, c_void_p, c_void_p),
}


class Context(ssl.SSLContext):
    """One that keeps alive what OpenSSL may call. (No `__init__`: ssl.SSLContext has none either.)"""

    callbacks: tuple[Any, ...] = ()


@functools.cache
def usable() -> bool:
    """Whether the functions below work here."""
    return sys.implementation.name == "cpython" and sys.version_info[:2] <= _NEWEST and _works()


def _works() -> bool:
    try:
        library = _library()
        if library.OpenSSL_version_num() != ssl.OPENSSL_VERSION_NUMBER:
            return False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for options in (ssl.OP_ALL, ssl.OP_ALL | ssl.OP_NO_TICKET):
            context.options = options
            if library.SSL_CTX_get_options(_handle(context)) != int(context.options) % (1 << 64):
                return False
    except (ImportError, OSError, AttributeError):
        return False
    return True


@functools.cache
def _library() -> Any:
    import _ssl

    library = ctypes.CDLL(_ssl.__file__)
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _handle(context: ssl.SSLContext) -> int:
    found = c_void_p.from_address(id(context) + object.__basicsize__).value
    assert found is not None
    return found


def set_groups(context: ssl.SSLContext, groups: str) -> None:
    """For the key exchange, best first, with colons between them. Raises ValueError where one of them is unknown."""
    _set_list(context, _SET_GROUPS_LIST, groups)


def set_signature_algorithms(context: ssl.SSLContext, algorithms: str) -> None:
    """As `set_groups`."""
    _set_list(context, _SET_SIGALGS_LIST, algorithms)


def _set_list(context: ssl.SSLContext, command: int, names: str) -> None:
    text = ctypes.create_string_buffer(names.encode())
    if _library().SSL_CTX_ctrl(_handle(context), command, 0, text) != 1:
        raise ValueError(names)


def set_tls13_ciphers(context: ssl.SSLContext, suites: str) -> None:
    """Of TLS 1.3, best first, with colons between them."""
    if _library().SSL_CTX_set_ciphersuites(_handle(context), suites.encode()) != 1:
        raise ValueError(suites)


def set_session_timeout(context: ssl.SSLContext, seconds: int) -> None:
    """How long a session may be resumed."""
    _library().SSL_CTX_set_timeout(_handle(context), seconds)


def forget_sessions(context: ssl.SSLContext) -> None:
    """Keep none here: only tickets can be resumed."""
    _library().SSL_CTX_ctrl(_handle(context), _SET_SESSION_CACHE_MODE, 0, None)


def set_ticket_key(context: ssl.SSLContext, key: bytes) -> None:
    """`TICKET_KEY_BYTES` of it. Who has the same one can resume each other's sessions."""
    assert len(key) == TICKET_KEY_BYTES
    text = ctypes.create_string_buffer(key, len(key))
    _library().SSL_CTX_ctrl(_handle(context), _SET_TICKET_KEYS, len(key), text)


def name_authorities(context: ssl.SSLContext, pem_file: str) -> None:
    """Tell clients whose certificates are asked for (RFC 8446 4.2.4)."""
    names = _library().SSL_load_client_CA_file(pem_file.encode())
    if names:
        _library().SSL_CTX_set_client_CA_list(_handle(context), names)


Verify = Callable[["Presented"], bool]


class Presented:
    """The certificates that a peer shows in a handshake; good only while `Verify` runs."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: int) -> None:
        self._ctx = ctx

    @property
    def leaf(self) -> bytes:
        """In DER."""
        return _der(_library().i2d_X509, _library().X509_STORE_CTX_get0_cert(self._ctx))

    def issued_by(self, trust: ssl.SSLContext, *, flags: int = 0) -> bool:
        """Whether the chain leads to one of the authorities of `trust`, for the purpose of this handshake. `flags` are
        more of `ssl.VERIFY_`."""
        library, ctx = _library(), self._ctx
        checked = library.X509_STORE_CTX_new()
        try:
            store, leaf = library.SSL_CTX_get_cert_store(_handle(trust)), library.X509_STORE_CTX_get0_cert(ctx)
            if library.X509_STORE_CTX_init(checked, store, leaf, library.X509_STORE_CTX_get0_untrusted(ctx)) != 1:
                return False
            param = library.X509_STORE_CTX_get0_param(checked)
            if library.X509_VERIFY_PARAM_set1(param, library.X509_STORE_CTX_get0_param(ctx)) != 1:
                return False
            if flags:
                library.X509_VERIFY_PARAM_set_flags(param, flags)
            good = library.X509_verify_cert(checked) == 1
            library.X509_STORE_CTX_set_error(ctx, library.X509_STORE_CTX_get_error(checked))
            return bool(good)
        finally:
            library.X509_STORE_CTX_free(checked)

    def refuse(self, error: int) -> bool:
        """Say why (x509_vfy.h: X509_V_ERR_); False, for `Verify` to return."""
        _library().X509_STORE_CTX_set_error(self._ctx, error)
        return False


def verify_with(context: Context, verify: Verify) -> None:
    """Let `verify` decide on the certificates of peers, in place of OpenSSL. What it raises refuses the peer."""

    def called(ctx: int, _: int | None) -> int:
        try:
            return int(verify(Presented(ctx)))
        except Exception:
            log.exception("a peer is refused, as its certificate could not be checked")
            return 0

    callback = _VERIFY(called)
    context.callbacks = (*context.callbacks, callback)
    _library().SSL_CTX_set_cert_verify_callback(_handle(context), callback, None)


def staple_with(context: Context, choose: Callable[[bytes], bytes | None]) -> None:
    """Show clients who ask for it the OCSP response that `choose` gives for our certificate (DER, both): empty for
    none, None to end the handshake (RFC 6066 8)."""
    library = _library()

    def called(tls: int, _: int | None) -> int:
        try:
            response = choose(_der(library.i2d_X509, library.SSL_get_certificate(tls)))
        except Exception:
            log.exception("no OCSP response is shown")
            return _NOT_DONE
        if not response:
            return _REFUSED if response is None else _NOT_DONE
        copy = library.CRYPTO_malloc(len(response), b"", 0)  # OpenSSL frees it
        ctypes.memmove(copy, response, len(response))
        library.SSL_ctrl(tls, _SET_STATUS_RESPONSE, len(response), copy)
        return _DONE

    callback = _STATUS(called)
    context.callbacks = (*context.callbacks, callback)
    library.SSL_CTX_callback_ctrl(_handle(context), _SET_STATUS_CALLBACK, ctypes.cast(callback, c_void_p))


def show_by_name(context: Context, choose: Callable[[str], Context | None]) -> None:
    """Of a server: for the name that a client asks for (RFC 6066 3; empty for none), show the certificates of the
    context that `choose` gives; None for those of this one. Whom to trust does not change."""
    library = _library()

    def called(tls: int, _: int | None, __: int | None) -> int:
        try:
            name: bytes | None = library.SSL_get_servername(tls, _HOST_NAME)
            found = choose("" if name is None else name.decode("ascii", "replace"))
            if found is not None:
                library.SSL_set_SSL_CTX(tls, _handle(found))
        except Exception:
            log.exception("no certificate is chosen by the name of the server")
            return _REFUSED
        return _DONE if name is not None else _NOT_DONE

    callback = _SERVERNAME(called)
    context.callbacks = (*context.callbacks, callback)
    library.SSL_CTX_callback_ctrl(_handle(context), _SET_SERVERNAME_CALLBACK, ctypes.cast(callback, c_void_p))


Take = Callable[[str], bytes | None]
Keep = Callable[[str, bytes, bool], None]


def resume_with(context: Context, take: Take, keep: Keep) -> None:
    """Begin handshakes of clients with the session that `take` gives for the name that the server is asked for (empty
    for none), if it gives one; `keep` is called with this name, each session that comes, and whether it is to be used
    once only (of TLS 1.3: RFC 8446 C.4).

    Sessions are bytes, with the secrets and the certificate of the peer in them. As objects of OpenSSL, those of a
    connection that ends without a word, or that was resumed, could not be resumed again.
    """
    library = _library()

    def came(tls: int, session: int) -> int:
        try:
            once = library.SSL_SESSION_get_protocol_version(session) >= _TLS13
            keep(_asked_for(tls), _der(library.i2d_SSL_SESSION, session), once)
        except Exception:
            log.exception("a session is not kept")
        return 0  # it stays OpenSSL's

    def told(tls: int, where: int, _: int) -> None:
        if where != _BEGINS:
            return
        try:
            kept = take(_asked_for(tls))
            if kept is not None:
                _set_session(tls, kept)
        except Exception:
            log.exception("no session is resumed")

    callbacks = _NEW_SESSION(came), _INFO(told)
    context.callbacks = (*context.callbacks, *callbacks)
    handle = _handle(context)
    library.SSL_CTX_ctrl(handle, _SET_SESSION_CACHE_MODE, _OURS_TO_KEEP, None)
    library.SSL_CTX_sess_set_new_cb(handle, callbacks[0])
    library.SSL_CTX_set_info_callback(handle, callbacks[1])


def _asked_for(tls: int) -> str:
    name: bytes | None = _library().SSL_get_servername(tls, _HOST_NAME)
    return "" if name is None else name.decode(errors="surrogateescape")


def _set_session(tls: int, kept: bytes) -> None:
    library = _library()
    start = c_char_p(kept)
    session = library.d2i_SSL_SESSION(None, ctypes.byref(start), len(kept))
    if not session or library.SSL_set_session(tls, session) != 1:
        library.ERR_clear_error()  # else it would be that of the handshake
    library.SSL_SESSION_free(session)


def _der(encode: Callable[[int, Any], int], thing: int) -> bytes:
    buffer = ctypes.create_string_buffer(encode(thing, None))
    encode(thing, ctypes.byref(c_void_p(ctypes.addressof(buffer))))
    return buffer.raw
