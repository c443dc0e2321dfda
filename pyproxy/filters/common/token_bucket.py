"""A token bucket (envoy.type.v3.TokenBucket): so many at once, and so many more each interval. No clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.view import View


@dataclass(frozen=True, slots=True)
class TokenBucketConfig:
    """`fill` tokens each `interval` seconds, at most `most`."""

    most: int
    fill: int
    interval: float


def compile_token_bucket(view: View) -> TokenBucketConfig:
    """Envoy demands an interval of at least 50 ms."""
    most, fill = int(view.scalar("max_tokens")), view.wrapped("tokens_per_fill")
    interval = view.seconds("fill_interval") or 0.0
    if interval < 0.05:
        view.fail("fill_interval", f"{interval:g}s is too short", expected="at least 50ms")
    return TokenBucketConfig(most, 1 if fill is None else fill, interval)


class TokenBucket:
    """Full to begin with. `workers` share it: each has its part, and at least one token."""

    __slots__ = ("_filled", "_interval", "_most", "_per_fill", "_tokens")

    def __init__(self, config: TokenBucketConfig, now: float, workers: int = 1) -> None:
        self._most = max(1.0, config.most / workers)
        self._per_fill = config.fill / workers
        self._interval = config.interval
        self._tokens = self._most
        self._filled = now

    def take(self, now: float) -> bool:
        """One token, if there is one. Whole intervals fill it, as in Envoy."""
        intervals = int((now - self._filled) / self._interval)
        if intervals > 0:
            self._filled += intervals * self._interval
            self._tokens = min(self._most, self._tokens + intervals * self._per_fill)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
