"""Lines of event logs: what befell a host, as JSON in the shape in which Envoy writes its event messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pyproxy import clock
from pyproxy.telemetry.logs import AccessLogs, LogFile


class EventFiles:
    """The files of one event log; one that cannot be opened was complained of, and is left out."""

    __slots__ = ("_files", "_logs")

    def __init__(self, paths: tuple[str, ...], logs: AccessLogs) -> None:
        self._logs = logs
        self._files: list[LogFile] = [file for path in paths if (file := logs.file(path)) is not None]

    def __bool__(self) -> bool:
        return bool(self._files)

    def write(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n"
        for file in self._files:
            file.append(line)

    def close(self) -> None:
        for file in self._files:
            self._logs.release(file)
        self._files.clear()


def timestamp() -> str:
    """Now, to the millisecond, as protobuf's JSON has it (no fraction where it is zero)."""
    seconds, milliseconds = divmod(int(clock.wall() * 1000), 1000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{milliseconds:03d}Z" if milliseconds else f"{text}Z"
