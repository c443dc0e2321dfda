"""TLS sessions: resumed by clients at any of our workers, and by us at upstreams."""

from __future__ import annotations

import hmac
import ssl
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pyproxy import openssl
from pyproxy.config.tls import DownstreamTlsConfig

_MOST_NAMES: Final = 64
"""Names that may be the choice of a downstream: more than these are not remembered."""


def let_resume(context: ssl.SSLContext, config: DownstreamTlsConfig) -> None:
    """As `config` says, at this worker and at those beside it."""
    sessions = config.sessions
    if not sessions.tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0  # else TLS 1.3 has tickets that name what is kept here
    if not openssl.usable():
        return
    if sessions.tickets:
        openssl.set_ticket_key(context, sessions.ticket_key or _own_key(config))
    if not sessions.kept:
        openssl.forget_sessions(context)
    if sessions.seconds:
        openssl.set_session_timeout(context, sessions.seconds)


def _own_key(config: DownstreamTlsConfig) -> bytes:
    """The same in all workers, and another one wherever anything else is trusted or shown: a session is never resumed
    where its client would not have got it."""
    checks = config.common.validation
    facts = (
        [certificate.chain for certificate in config.common.certificates],
        (checks.trusted_ca, checks.crl, checks.only_leaf_crl, checks.accept_untrusted, checks.allow_expired),
        (checks.sans, sorted(checks.spki_pins), sorted(checks.certificate_pins), checks.trust_domains),
        (config.require_client_certificate, config.common.alpn),
    )
    mac = partial(hmac.digest, openssl.SECRET, digest="sha512")
    about = repr(facts).encode()
    return (mac(msg=b"1" + about) + mac(msg=b"2" + about))[: openssl.TICKET_KEY_BYTES]


class Sessions:
    """What upstreams gave us to come back with: for each name at most so many, the newest first.

    A session of TLS 1.3 is used once (RFC 8446 C.4). Its ticket comes at some time after the handshake, so an open
    connection is asked for it only when the next one is made.
    """

    __slots__ = ("_by_name", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_name: OrderedDict[str, deque[_Kept]] = OrderedDict()

    def keep(self, name: str, tls: Any) -> Callable[[], None]:
        """A handshake is done; `tls` is an `ssl.SSLObject`. Call what is returned when the connection is gone."""
        found = self._by_name.get(name)
        if found is None:
            if len(self._by_name) >= _MOST_NAMES:
                self._by_name.popitem(last=False)
            found = self._by_name[name] = deque(maxlen=self._most)
        one = _Kept(tls)
        found.append(one)
        return one.reduce

    def take(self, name: str) -> ssl.SSLSession | None:
        """For a new connection; None for a full handshake."""
        found = self._by_name.get(name)
        if not found:
            return None
        self._by_name.move_to_end(name)
        for one in reversed(found):
            session = one.session()
            if session is not None:
                if one.once:
                    found.remove(one)
                return session
        return None


class _Kept:
    """An open connection, or the session that it left behind, which is much smaller."""

    __slots__ = ("_tls", "once")

    def __init__(self, tls: Any) -> None:
        self._tls = tls
        self.once = tls.version() == "TLSv1.3"

    def session(self) -> ssl.SSLSession | None:
        """None where it cannot be resumed, or not yet."""
        tls = self._tls
        session: ssl.SSLSession | None = tls if tls is None or isinstance(tls, ssl.SSLSession) else tls.session
        return session if session is not None and (session.has_ticket or session.id) else None

    def reduce(self) -> None:
        self._tls = self.session()
