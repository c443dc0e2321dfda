"""A DNS server that knows a few names: enough of RFC 1035 for A and AAAA questions over UDP and TCP."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from typing import Final, NamedTuple, Self

from tests.support.ports import LOOPBACK

A, AAAA = 1, 28
_ANSWER: Final = 0x8480
"""A response, with authority, and recursion is available."""
_NO_SUCH_NAME, _SERVER_FAILURE = 3, 2


class Question(NamedTuple):
    name: str
    kind: int
    over: str
    """udp or tcp"""


class DnsServer:
    """Answers on one port until it is closed. `names` may be changed at any time: name -> (TTL, addresses).

    A name that is None fails (SERVFAIL); one that is not there does not exist. `asked` is what came, in order.
    """

    def __init__(self, **names: tuple[int, list[str]] | None) -> None:
        self.names: dict[str, tuple[int, list[str]] | None] = dict(names)
        self.asked: list[Question] = []
        self.silent = False
        """Questions are heard and not answered."""
        while True:
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._udp.bind((LOOPBACK, 0))
            self.port: int = self._udp.getsockname()[1]
            self._tcp = socket.socket()
            try:
                self._tcp.bind((LOOPBACK, self.port))
                break
            except OSError:  # the other protocol's port is taken
                self._udp.close()
                self._tcp.close()
        self._tcp.listen()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def close(self) -> None:
        for one in (self._udp, self._tcp):
            one.shutdown(socket.SHUT_RDWR) if one is self._tcp else one.sendto(b"", (LOOPBACK, self.port))
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve_udp(self) -> None:
        while True:
            query, peer = self._udp.recvfrom(4096)
            if not query:
                return
            answer = self._answer(query, "udp")
            if not self.silent:
                self._udp.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        while True:
            try:
                sock, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(sock,), daemon=True).start()

    def _converse(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as stream:
            while len(size := stream.read(2)) == 2:
                answer = self._answer(stream.read(struct.unpack("!H", size)[0]), "tcp")
                sock.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, query: bytes, over: str) -> bytes:
        labels, at = [], 12
        while size := query[at]:
            labels.append(query[at + 1 : at + 1 + size].decode())
            at += 1 + size
        end = at + 5
        (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
        name = ".".join(labels).lower()
        self.asked.append(Question(name, kind, over))
        known = self.names.get(name, (0, []))
        code = _SERVER_FAILURE if known is None else 0 if name in self.names else _NO_SUCH_NAME
        ttl, addresses = known or (0, [])
        found = [ipaddress.ip_address(one) for one in addresses]
        data = [one.packed for one in found if (one.version == 4) == (kind == A)]
        head = query[:2] + struct.pack("!HHHHH", _ANSWER | code, 1, len(data), 0, 0)
        records = b"".join(struct.pack("!HHHLH", 0xC00C, kind, 1, ttl, len(one)) + one for one in data)
        return head + query[12:end] + records
