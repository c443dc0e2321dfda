"""The live tap: finished requests as somebody watches them (`pyproxy tap`), with what is secret taken out.

While nobody watches it costs a request two looks. Bodies are kept only while somebody wants to see them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from pyproxy.http.message import Headers, Request, Response
from pyproxy.telemetry.formatter import log_text
from pyproxy.telemetry.live_bodies import MOST_SHOWN, REDACTED, STATE, LiveBodies

MOST_WAITING: Final = 1000
"""Entries between two hand-overs; more are counted and left out."""
_SECRET_HEADERS: Final = re.compile(rb"authorization|cookie|secret|token|password|api-?key|credential", re.IGNORECASE)
_SECRET_PARAMETERS: Final = re.compile(
    r"(?i)([?&][^=&]*(?:token|secret|password|passwd|signature|credential|api_?key|code)[^=&]*=)[^&]*"
)
_STATUS: Final = re.compile(r"[1-5](?:[0-9]{2}|xx)")


@dataclass(frozen=True, slots=True)
class TapWish:
    """Which requests somebody wants to see; empty means any. `path` and `host` are beginnings, `peer` is a part of the
    client's certificate URI, `status` is like 404 or 5xx, `slower_than` is in milliseconds; `bodies`: how many bytes of
    each body are shown."""

    method: str = ""
    path: str = ""
    host: str = ""
    status: str = ""
    peer: str = ""
    slower_than: float = 0.0
    bodies: int = 0

    @classmethod
    def parse(cls, words: Mapping[str, str]) -> TapWish:
        """Raises ValueError with what is wrong."""
        status = words.get("status", "")
        if status and _STATUS.fullmatch(status) is None:
            raise ValueError(f"status {status!r}: expected a number like 404, or a class like 5xx")
        try:
            slower = float(words.get("slower_than", "0") or 0)
        except ValueError:
            raise ValueError(f"slower_than {words['slower_than']!r}: expected milliseconds") from None
        bodies = words.get("bodies", "") or "0"
        if not bodies.isascii() or not bodies.isdigit() or int(bodies) > MOST_SHOWN:
            raise ValueError(f"bodies {bodies!r}: expected a number of bytes up to {MOST_SHOWN}")
        texts = {name: words.get(name, "") for name in ("method", "path", "host", "peer")}
        return cls(
            **{**texts, "method": texts["method"].upper()}, status=status, slower_than=slower, bodies=int(bodies)
        )

    def as_message(self) -> dict[str, Any]:
        return asdict(self)

    def wants(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry is one that somebody wants to see."""
        status = str(entry["status"])
        return (
            (not self.method or entry["method"] == self.method)
            and entry["path"].startswith(self.path)
            and entry["host"].startswith(self.host)
            and (
                not self.status
                or status == self.status
                or (self.status.endswith("xx") and status[:1] == self.status[0])
            )
            and (not self.peer or self.peer in entry["peer"])
            and entry["milliseconds"] >= self.slower_than
        )


class LiveTap:
    """One worker's side. `wishes` are those of all who watch."""

    def __init__(self) -> None:
        self.wishes: tuple[TapWish, ...] = ()
        self.bodies = 0
        """Bytes of each body that somebody wants to see."""
        self.dropped = 0
        self._seen: deque[dict[str, Any]] = deque()

    def watch(self, wishes: tuple[TapWish, ...]) -> None:
        """These are all who watch now."""
        self.wishes = wishes
        self.bodies = max((wish.bodies for wish in wishes), default=0)

    def watch_request(self, request: Request) -> None:
        """A request has come while somebody wants to see bodies."""
        LiveBodies(request, self.bodies)

    def watch_response(self, request: Request, response: Response) -> None:
        """And its response goes out."""
        state = request.info.filter_state
        bodies = None if state is None else state.get(STATE)
        if bodies is not None:
            bodies.watch_response(response)

    def see(self, request: Request, response: Response | None) -> None:
        """A request is over, and somebody watches."""
        entry = entry_of(request, response)
        state = request.info.filter_state
        bodies = None if state is None else state.pop(STATE, None)
        if bodies is not None:
            entry.update(bodies.shown(request, response))
        if not any(wish.wants(entry) for wish in self.wishes):
            return
        if len(self._seen) < MOST_WAITING:
            self._seen.append(entry)
        else:
            self.dropped += 1

    def take(self) -> tuple[list[dict[str, Any]], int]:
        """What was seen since the last call, and how much more there would have been."""
        entries, dropped = list(self._seen), self.dropped
        self._seen.clear()
        self.dropped = 0
        return entries, dropped


def entry_of(request: Request, response: Response | None) -> dict[str, Any]:
    """A finished request as plain data."""
    info = request.info
    connection, upstream, tls = info.connection, info.upstream, info.connection.tls
    return {
        "time": info.start_wall,
        "milliseconds": round((info.end - info.start) * 1000, 3),
        "upstream_milliseconds": _between(upstream.request_sent_first, upstream.response_first),
        "method": log_text(request.method),
        "scheme": log_text(request.scheme),
        "host": log_text(request.authority),
        "path": redacted_path(log_text(request.path)),
        "protocol": info.protocol,
        "status": info.status,
        "flags": ",".join(flag.short for flag in info.flags),
        "details": info.details,
        "route": info.route_name,
        "cluster": upstream.cluster,
        "upstream": upstream.host_address,
        "attempts": info.attempts,
        "downstream": connection.remote[0],
        "peer": "" if tls is None else ",".join(tls.peer_sans("URI")),
        "listener": connection.listener_name,
        "request_id": log_text(request.headers.index.get(b"x-request-id", b"")),
        "trace_id": info.trace_id,
        "bytes_received": info.bytes_received,
        "bytes_sent": info.bytes_sent,
        "request_headers": _shown(request.headers),
        "response_headers": [] if response is None else _shown(response.headers),
    }


def redacted_path(path: str) -> str:
    """Values of parameters whose names speak of secrets are left out."""
    return _SECRET_PARAMETERS.sub(rf"\1{REDACTED}", path) if "=" in path else path


def _shown(headers: Headers) -> list[tuple[str, str]]:
    return [
        (log_text(name), REDACTED if _SECRET_HEADERS.search(name) else log_text(value)) for name, value in headers.pairs
    ]


def _between(start: float, end: float) -> float | None:
    return round((end - start) * 1000, 3) if start and end else None
