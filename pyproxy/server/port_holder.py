"""Who listens on a port already: for the sentence that says why we cannot, or that we now share it."""

from __future__ import annotations

import contextlib
from pathlib import Path

_LISTEN = "0A"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def holders_of(port: int) -> list[str]:
    """`pid 4711 (nginx)` for each process found; empty where the system does not tell us."""
    inodes = _listening_inodes(port)
    processes = [path for path in Path("/proc").iterdir() if path.name.isdecimal()] if inodes else []
    return [f"pid {process.name} ({_name(process)})" for process in processes if _has_socket(process, inodes)]


def _listening_inodes(port: int) -> set[str]:
    inodes: set[str] = set()
    for table in _TABLES:
        with contextlib.suppress(OSError):
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def _has_socket(process: Path, inodes: set[str]) -> bool:
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            if target.startswith("socket:[") and target[8:-1] in inodes:
                return True
    return False


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "unknown"
