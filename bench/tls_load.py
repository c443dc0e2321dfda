"""The load of the handshake scenarios: a connection, a handshake with certificates on both sides, one small request.

The request is there because a TLS 1.3 client is finished before the server has looked at its certificate: only an
answer proves that the handshake was accepted. It also brings the ticket that the next handshake resumes with.
"""

import json
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench.config.certificates import Certificates
from bench.tcp_load import shares

SECONDS = 20.0
REQUEST = b"GET /service-00000/item HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n"
ANSWER, END = b"HTTP/1.1 200", b".end"


class Client:
    """Makes connections to one port; with `resume` each of them goes on with the session of the first."""

    def __init__(self, port: int, certificates: Certificates, resume: bool = False) -> None:
        self.port = port
        self.context = ssl.create_default_context(cafile=str(certificates.ca))
        self.context.load_cert_chain(certificates.client)
        self.session: ssl.SSLSession | None = None
        if resume:
            with self.connect(keep=False) as first:
                self.session = first.session

    def connect(self, keep: bool) -> ssl.SSLSocket:
        """A connection that has had its answer; raises OSError if anything is not as it should be."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with plain:
            tls = self.context.wrap_socket(plain, server_hostname="localhost", session=self.session)
        try:
            self._exchange(tls, keep)
        except OSError:
            tls.close()
            raise
        return tls

    def _exchange(self, tls: ssl.SSLSocket, keep: bool) -> None:
        if tls.session_reused != (self.session is not None):
            raise OSError("the session was not resumed" if self.session else "the session was resumed")
        tls.sendall(REQUEST % (b"keep-alive" if keep else b"close"))
        answer = b""
        while not answer.endswith(END):
            piece = tls.recv(4096)
            if not piece:
                raise OSError(f"the connection ended after {answer[:40]!r}")
            answer += piece
        if not answer.startswith(ANSWER):
            raise OSError(f"answered {answer[:40]!r}")


def run(port: int, requests: int, connections: int, resume: bool, directory: str) -> dict[str, int]:
    """`connections` threads, each one handshake after the other; OpenSSL lets go of the interpreter meanwhile."""
    begin = time.monotonic_ns()
    client = Client(port, Certificates.at(Path(directory)), resume)
    parts = shares(requests, connections)
    with ThreadPoolExecutor(len(parts)) as pool:
        errors = sum(pool.map(partial(_errors, client), parts))
    return {"requests": requests, "errors": errors, "wall_ns": time.monotonic_ns() - begin}


def _errors(client: Client, requests: int) -> int:
    errors = 0
    for _ in range(requests):
        try:
            client.connect(keep=False).close()
        except OSError as error:
            print(error, file=sys.stderr)
            errors += 1
    return errors


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1]))))
