"""One case of the oracle suite: a piece of configuration, what is sent, what the upstream does, and what must be equal.

A case carries its own configuration beside its request, so that a failure can be read without looking elsewhere.
All cases of a module are put into one bootstrap (see `bootstrap.py`), where a case owns the domain `<id>.test`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.downstream import AwaitReply, Piece
from tests.support.h2_downstream import Stream
from tests.support.upstream import OK, Answer

Json = dict[str, Any]

HOST = "$HOST"  # becomes the domain of the case
UP = "$PORT_UP"  # become ports, see bootstrap.py
OTHER = "$PORT_OTHER"
REFUSED = "$PORT_REFUSED"
FULL = "$PORT_FULL"  # where connecting never ends
LOG = "$LOG"  # becomes the directory of the access logs


@dataclass(frozen=True, slots=True)
class Differs:
    """pyproxy is meant to do something else than Envoy here.

    `anchor` is the heading in docs/differences.md that tells why, `expect` the part of pyproxy's observation
    that is required instead of equality.
    """

    anchor: str
    expect: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`status`, `flags` and `details` pin what Envoy does, so that a case cannot silently test something else."""

    id: str
    send: Sequence[Piece | Stream]
    h2: bool = False  # is sent by HTTP/2; what is written as HTTP/1 is translated
    status: int | tuple[int, ...]
    flags: str | None = None
    details: str | None = None

    routes: Sequence[Json] | None = None  # of the case's own virtual host; None: everything goes to `up`
    vhost: Json = field(default_factory=dict)  # further fields of that virtual host
    vhosts: Sequence[Json] | None = None  # instead of `routes` and `vhost`
    table: Json = field(default_factory=dict)  # fields of the route configuration
    hcm: Json = field(default_factory=dict)  # fields of the connection manager
    listener: Json = field(default_factory=dict)  # fields of the listener
    clusters: Sequence[Json] = ()
    catch_all: bool = True  # the listener has a last virtual host `*`

    upstream: Sequence[Answer] = (OK,)
    behind: bytes | None = None  # sent first on a connection of its own and left waiting
    host: str | None = None  # instead of `<id>.test`
    methods: Sequence[str] | None = None
    replies: int | None = None  # final responses to wait for; default: one per piece of bytes
    logs: int | None = None  # log lines to wait for; default: one per response
    closes: bool = False  # the connection ends without an announcement
    files: Sequence[str] = ()  # access logs of its own, below LOG, to be compared line by line
    ignore: Sequence[str] = ()  # keys of the observation that may differ, with `*`
    differs: Differs | None = None

    @property
    def domain(self) -> str:
        return self.host if self.host is not None else f"{self.id}.test"

    @property
    def request_methods(self) -> Sequence[str]:
        if self.methods is not None:
            return self.methods
        return [_method(piece) for piece in self.send if isinstance(piece, bytes | Stream)]

    @property
    def reply_count(self) -> int:
        return self.replies if self.replies is not None else len(self.request_methods)

    @property
    def log_count(self) -> int:
        return self.logs if self.logs is not None else self.reply_count


def _method(piece: bytes | Stream) -> str:
    if isinstance(piece, Stream):
        return dict(piece.fields).get(":method", "GET")
    return piece.split(b" ", 1)[0].decode("latin-1")


def request(method: str, target: str, *headers: str, body: bytes = b"", host: str | None = HOST) -> bytes:
    """One HTTP/1.1 request as bytes; a body gets a content-length."""
    lines = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += headers
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(target: str, *headers: str, host: str | None = HOST) -> bytes:
    return request("GET", target, *headers, host=host)


def post(target: str, body: bytes, *headers: str) -> bytes:
    return request("POST", target, *headers, body=body)


def chunked(target: str, *chunks: bytes, trailers: bytes = b"", headers: Sequence[str] = ()) -> bytes:
    head = request("POST", target, *headers, "Transfer-Encoding: chunked")
    return head + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n" + trailers + b"\r\n"


def in_turn(*requests: bytes) -> list[Piece]:
    """Send each request after the answer to the one before it, on one connection."""
    pieces: list[Piece] = []
    for one in requests:
        if pieces:
            pieces.append(AwaitReply())
        pieces.append(one)
    return pieces


def route(prefix: str = "/", cluster: str = "up", *, name: str | None = None, **action: Any) -> Json:
    """A route to a cluster by prefix."""
    made: Json = {"match": {"prefix": prefix}, "route": {"cluster": cluster, **action}}
    if name is not None:
        made["name"] = name
    return made


def says(text: str, match: Json) -> Json:
    """A route that answers with `text`, so that the body tells which route was taken."""
    return {"name": text, "match": match, "direct_response": {"status": 200, "body": {"inline_string": text}}}


def cluster(name: str, port: str | None = UP, **fields: Any) -> Json:
    """A STATIC cluster with one endpoint, or with none."""
    endpoints = [] if port is None else [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]
    return {
        "name": name,
        "connect_timeout": "1s",
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        **fields,
    }


def with_trailers() -> Json:
    """Fields of a cluster whose HTTP/1 upstreams may send trailers that are passed on."""
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options = {"explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}
    return {"typed_extension_protocol_options": {name: {"@type": f"type.googleapis.com/{name}", **options}}}


def address(port: str) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def add_header(key: str, value: str, action: str | None = None, **fields: Any) -> Json:
    """One HeaderValueOption."""
    option: Json = {"header": {"key": key, "value": value}, **fields}
    if action is not None:
        option["append_action"] = action
    return option
