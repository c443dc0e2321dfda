"""One proxy with its upstreams and logs, on which cases are played; two of them make a pair that is compared."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

from tests.oracle.bootstrap import Plan
from tests.oracle.case import Case
from tests.oracle.normalise import Names
from tests.oracle.observation import Observation, Played, observe
from tests.oracle.stat_names import used
from tests.support.downstream import Downstream, Exchange, Patience, Piece
from tests.support.h2_downstream import H2Downstream, Stream
from tests.support.ports import LOOPBACK, FullListener, free_ports
from tests.support.process import ProxyDiedError, ProxyProcess
from tests.support.upstream import ScriptedUpstream

ACCESS_LOG = "access.log"
# Not a file of its own: what the process writes to stdout, where the lines of a case begin with this.
STDOUT = "stdout"
STDOUT_LINE = "oracle "
LOG_PATIENCE = 2.0
# A few flush intervals, after which a line that was not written will not be.
LOG_QUIET = 0.06
QUIET = 0.003
# Workers may hand their counts over a few times a second only.
STATS_QUIET = 1.0


class Arena:
    """Starts the proxy named `name` on the plan's bootstrap. Owns everything it starts; `stop` ends it."""

    def __init__(self, name: str, command: Sequence[str], plan: Plan, directory: Path) -> None:
        self.name = name
        self._command = command
        self._plan = plan
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._refusing = socket.socket()
        self._refusing.bind((LOOPBACK, 0))
        self._full = FullListener()
        self._up = ScriptedUpstream()
        self._other = ScriptedUpstream()
        self._ports: dict[str, int] = {}
        self._names = Names({"unused": ""})
        self._proxy: ProxyProcess | None = None
        self._failed: ProxyDiedError | None = None

    def play(self, case: Case) -> Observation:
        """Run one case and tell what could be seen from outside."""
        self._ensure_running()
        for upstream in (self._up, self._other):
            upstream.begin(case.upstream)
        while not (self._up.idle and self._other.idle):
            time.sleep(QUIET)
        time.sleep(QUIET)
        marks = {name: self._size(name) for name in (ACCESS_LOG, *case.files)}
        exchange = self._exchange(case)
        lines = self._log_lines(case, exchange, marks[ACCESS_LOG])
        if case.files:
            time.sleep(LOG_QUIET)
        files = {name: self._text(name, marks[name]) for name in case.files}
        if STDOUT in files:
            lines_out = files[STDOUT].splitlines()
            files[STDOUT] = "\n".join(line for line in lines_out if line.startswith(STDOUT_LINE))
        seen = [("up", one) for one in self._up.seen()] + [("other", one) for one in self._other.seen()]
        return observe(Played(exchange, seen, lines, files), self._names)

    def stats(self) -> dict[str, str]:
        """The counters and gauges that were used, by name."""
        assert self._proxy is not None
        time.sleep(STATS_QUIET)
        _, text = self._proxy.admin("/stats?usedonly")
        lines = self._names.text(text.decode()).splitlines()
        # A histogram is shown only once it was flushed, and tells of times.
        return dict(line.split(": ", 1) for line in lines if line.rpartition(": ")[2].isdecimal())

    def tell(self, path: str) -> None:
        """POST to the admin interface."""
        self._ensure_running()
        assert self._proxy is not None
        status, body = self._proxy.admin(path, "POST")
        assert status == 200, body

    def used_names(self) -> set[str]:
        """Of every statistic that is not zero."""
        assert self._proxy is not None
        return used(self._proxy, self._ports)

    def stop(self) -> None:
        if self._proxy is not None:
            self._proxy.stop()
        self._up.stop()
        self._other.stop()
        self._refusing.close()
        self._full.stop()

    def log_tail(self) -> str:
        return self._proxy.log_tail() if self._proxy else ""

    def _ensure_running(self) -> None:
        """A proxy that died in one case must not fail the others; one that cannot start need not try again."""
        if self._failed is not None:
            raise self._failed
        if self._proxy is not None:
            if self._proxy.alive:
                return
            self._proxy.stop()
        listeners = self._plan.listeners
        admin, *ports = free_ports(len(listeners) + 1)
        self._ports = dict(zip(listeners, ports, strict=True))
        placeholders: dict[str, int | str] = {f"$PORT_{name}": port for name, port in self._ports.items()}
        placeholders |= {"$PORT_ADMIN": admin, "$PORT_UP": self._up.port, "$PORT_OTHER": self._other.port}
        placeholders |= {"$PORT_REFUSED": self._refusing.getsockname()[1], "$PORT_FULL": self._full.port}
        placeholders["$LOG"] = str(self._directory)
        # Longest names first, or $PORT_listener1 would be found in $PORT_listener10.
        ordered = dict(sorted(placeholders.items(), key=lambda item: -len(item[0])))
        bootstrap = self._directory / "bootstrap.json"
        bootstrap.write_text(json.dumps(self._plan.render(ordered), indent=1), "utf-8")
        self._names = Names({str(value): f"<{name[1:].lower()}>" for name, value in ordered.items()})
        try:
            self._proxy = ProxyProcess.start(self.name, self._command, bootstrap, admin)
        except ProxyDiedError as error:
            self._failed = error
            raise

    def _exchange(self, case: Case) -> Exchange:
        port = self._ports[self._plan.listener_of[case.id]]
        host = case.domain.encode()
        with contextlib.ExitStack() as stack:
            if case.behind is not None:
                waiting = stack.enter_context(contextlib.closing(Downstream(port, ["GET"], Patience())))
                waiting.send([_filled(case.behind, host, port)])
                self._await_upstream()
            if case.h2:
                other = stack.enter_context(contextlib.closing(H2Downstream(port, Patience())))
                other.send([_filled(piece, host, port) for piece in case.send])
                return other.finish(case.reply_count, closes=case.closes)
            downstream = stack.enter_context(contextlib.closing(Downstream(port, case.request_methods, Patience())))
            pieces = [piece for piece in case.send if not isinstance(piece, Stream)]
            downstream.send([_filled(piece, host, port) for piece in pieces])
            return downstream.finish(case.reply_count, closes=case.closes)

    def _await_upstream(self) -> None:
        """Wait until the first request has got through."""
        deadline = time.monotonic() + LOG_PATIENCE
        while not (self._up.seen() or self._other.seen()) and time.monotonic() < deadline:
            time.sleep(QUIET)

    def _log_lines(self, case: Case, exchange: Exchange, mark: int) -> list[dict[str, object]]:
        """The lines of this connection: it is known by its port."""
        deadline = time.monotonic() + LOG_PATIENCE
        mine = f":{exchange.local_port}"
        while True:
            text = self._text(ACCESS_LOG, mark)
            whole = text[: text.rfind("\n") + 1].splitlines()
            lines = [line for line in map(json.loads, whole) if _of(line).endswith(mine)]
            if len(lines) >= case.log_count or time.monotonic() > deadline:
                return lines
            time.sleep(QUIET)

    def _path(self, name: str) -> Path:
        return self._directory / (f"{self.name}.log" if name == STDOUT else name)

    def _size(self, name: str) -> int:
        path = self._path(name)
        return path.stat().st_size if path.exists() else 0

    def _text(self, name: str, mark: int) -> str:
        path = self._path(name)
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(mark)
            return file.read().decode("utf-8", "backslashreplace")


@overload
def _filled(piece: Piece, host: bytes, port: int) -> Piece: ...
@overload
def _filled(piece: Piece | Stream, host: bytes, port: int) -> Piece | Stream: ...
def _filled(piece: Piece | Stream, host: bytes, port: int) -> Piece | Stream:
    if isinstance(piece, Stream):
        fields = tuple((name, value.replace("$HOST", host.decode())) for name, value in piece.fields)
        return replace(piece, fields=fields)
    if not isinstance(piece, bytes):
        return piece
    return piece.replace(b"$HOST", host).replace(b"$PORT_LISTENER", b"%d" % port)


def _of(line: dict[str, object]) -> str:
    return str(line.get("downstream_direct_remote_address"))
