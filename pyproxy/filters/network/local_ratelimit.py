"""local_ratelimit: at most so many new connections in a time.

A network filter. Envoy: envoy.filters.network.local_ratelimit. Security posture: trusts no downstream.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy import clock
from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.feature_flag import FeatureFlag, compile_feature_flag
from pyproxy.filters.common.network_filter import STAYS, Leave
from pyproxy.filters.common.token_bucket import TokenBucket, TokenBucketConfig, compile_token_bucket
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.runtime import Runtime
from pyproxy.telemetry.network_filter_stats import LocalRateLimitStats


@dataclass(frozen=True, slots=True)
class LocalRateLimitConfig:
    stat_prefix: str
    bucket: TokenBucketConfig
    enabled: FeatureFlag

    def build(self, runtime: Runtime) -> LocalRateLimit:
        return LocalRateLimit(self, runtime)


def compile(view: View, context: CompileContext) -> LocalRateLimitConfig:  # noqa: A001 (the name that every filter has)
    """A `LocalRateLimit`. A `share_key` is listed as not honoured: each chain has a bucket of its own."""
    del context
    return LocalRateLimitConfig(
        stat_prefix=view.text("stat_prefix"),
        bucket=compile_token_bucket(view.need("token_bucket")),
        enabled=compile_feature_flag(view.child("runtime_enabled")),
    )


class LocalRateLimit:
    """Shared by all connections of a chain."""

    def __init__(self, config: LocalRateLimitConfig, runtime: Runtime) -> None:
        self._stats = LocalRateLimitStats(runtime.stats, config.stat_prefix)
        self._bucket = TokenBucket(config.bucket, clock.monotonic(), runtime.workers)
        self._enabled = config.enabled.is_on(runtime.values)

    def admit(self, info: ConnectionInfo) -> Leave | None:
        del info
        if not self._enabled or self._bucket.take(clock.now):
            return STAYS
        self._stats.rate_limited.value += 1
        return None
