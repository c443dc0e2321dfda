"""How fast a control plane is spoken to: requests by a bucket of tokens, new streams by back-off."""

from __future__ import annotations

import random
from typing import Final

from pyproxy.config.config_source import BackOffConfig, RateLimitConfig

_MANY_FAILURES: Final = 5
_LEAST_AFTER_MANY: Final = 0.25


class RequestPace:
    """A bucket of tokens that fills steadily (`RateLimitSettings`); without a configuration it never runs dry."""

    __slots__ = ("_config", "_filled", "_tokens")

    def __init__(self, config: RateLimitConfig | None) -> None:
        self._config = config
        self._tokens = 0.0 if config is None else float(config.max_tokens)
        self._filled = 0.0

    def take(self, now: float) -> bool:
        """One token, if there is one."""
        if self._config is None:
            return True
        if self._filled:
            self._tokens = min(self._config.max_tokens, self._tokens + (now - self._filled) * self._config.fill_rate)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def next_token(self, now: float) -> float:
        """When `take` gives one."""
        if self._config is None or self._tokens >= 1:
            return now
        return now + (1 - self._tokens) / max(self._config.fill_rate, 0.001)


class BackOff:
    """Any time up to a bound, which doubles with each failure (Envoy: JitteredExponentialBackOffStrategy).

    After a few failures never at once: what cannot be reached is not helped by two attempts in a row.
    """

    __slots__ = ("_config", "_failures", "_rng")

    def __init__(self, config: BackOffConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._failures = 0

    def reset(self) -> None:
        """It works again."""
        self._failures = 0

    def next_seconds(self) -> float:
        """How long to wait after one more failure."""
        bound = min(self._config.base * 2.0 ** min(self._failures, 30), self._config.most)
        self._failures += 1
        seconds = self._rng.random() * bound
        return max(seconds, min(_LEAST_AFTER_MANY, bound)) if self._failures > _MANY_FAILURES else seconds
