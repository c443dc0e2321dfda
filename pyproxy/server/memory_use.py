"""What the processes of the proxy hold in memory, as the kernel counts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_KILO = 1024


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes of one process. `pss` shares what several processes map, so it can be added up; `private` is its alone."""

    name: str
    pid: int
    rss: int = 0
    pss: int = 0
    anonymous: int = 0
    private: int = 0


def measure(name: str, pid: int) -> MemoryUse:
    """Zeros where the process has gone or hides."""
    sizes = _sizes(pid)
    private = sizes.get("Private_Clean", 0) + sizes.get("Private_Dirty", 0)
    return MemoryUse(name, pid, sizes.get("Rss", 0), sizes.get("Pss", 0), sizes.get("Anonymous", 0), private)


def _sizes(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {words[0].rstrip(":"): int(words[1]) * _KILO for words in fields if len(words) >= 3}
