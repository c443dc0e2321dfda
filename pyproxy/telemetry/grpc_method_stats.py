"""What Envoy counts of gRPC calls, below the cluster that they go to."""

from __future__ import annotations

from typing import Final

from pyproxy.telemetry.metrics import Counter, Histogram, Scope, Tally

_MOST_STATUSES: Final = 50
_OTHER: Final = b"other"


class GrpcMethodStats:
    """`cluster.<name>.grpc.` or `cluster.<name>.grpc.<service>.<method>.`; nothing is shown before it is used."""

    __slots__ = ("_prefix", "_request_messages", "_response_messages", "_scope", "_statuses", "_upstream_time")

    def __init__(self, scope: Scope, prefix: str) -> None:
        """`prefix` ends with a dot."""
        self._scope = scope
        self._prefix = prefix
        self._statuses: dict[bytes, Tally] = {}
        self._request_messages: Counter | None = None
        self._response_messages: Counter | None = None
        self._upstream_time: Histogram | None = None

    def ended(self, status: bytes) -> None:
        """A call has this `grpc-status`: its counter, `success` or `failure`, and `total`."""
        found = self._statuses.get(status)
        if found is None:
            found = self._tally(status)
        found.value += 1

    def sent(self, messages: int) -> None:
        if self._request_messages is None:
            self._request_messages = self._counter("request_message_count")
        self._request_messages.value += messages

    def received(self, messages: int) -> None:
        if self._response_messages is None:
            self._response_messages = self._counter("response_message_count")
        self._response_messages.value += messages

    def took(self, milliseconds: int) -> None:
        """From the last byte that the upstream was sent to the last one that came from it."""
        if self._upstream_time is None:
            self._upstream_time = self._scope.histogram(f"{self._prefix}upstream_rq_time")
        self._upstream_time.record(milliseconds)

    def _counter(self, name: str) -> Counter:
        return self._scope.counter(self._prefix + name)

    def _tally(self, status: bytes) -> Tally:
        """An upstream that makes up statuses does not fill our memory with their names."""
        if len(self._statuses) >= _MOST_STATUSES:
            status = _OTHER
            if status in self._statuses:
                return self._statuses[status]
        name = "".join(char if char.isalnum() else "_" for char in status.decode("ascii", "replace"))
        made = self._statuses[status] = self._scope.tally(
            self._counter(name), self._counter("success" if status == b"0" else "failure"), self._counter("total")
        )
        return made
