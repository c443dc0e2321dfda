"""One measured run as a value: what was asked of a target and what that cost it."""

from dataclasses import asdict, dataclass, field

# Two names beside the targets: a TCP relay that should always cost the same, and the upstream without any proxy.
CONTROL, DIRECT = "control", "direct"


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run of one target; `kept` is false if a calmer attempt replaced it."""

    target: str
    requests: int
    errors: int
    cpu_ns_data: int
    cpu_ns_total: int
    wall_ns: int
    pss_kb: int
    lat_us: dict[str, float] = field(default_factory=dict)
    log_bytes: int = 0
    pace_ns: int = 0
    kept: bool = True

    def cost(self, total: bool = False) -> float:
        """CPU nanoseconds per request."""
        return (self.cpu_ns_total if total else self.cpu_ns_data) / self.requests

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.wall_ns * 1e9

    def record(self) -> dict[str, object]:
        """The measured part of a result file's line."""
        return {**asdict(self), "rate": round(self.rate, 1)}
