"""When a request is tried again, as values (envoy.config.route.v3.RetryPolicy, HedgePolicy). Seconds for all times.

The compile functions are in `config.retry_compile`; `routes.retry` builds the live policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pyproxy.config.matchers import HeaderMatch


class HostPredicate(Enum):
    """Which hosts a retry would rather not go to."""

    PREVIOUS_HOSTS = "previous_hosts"
    OMIT_CANARY = "omit_canary_hosts"
    OMIT_METADATA = "omit_host_metadata"


@dataclass(frozen=True, slots=True)
class HostPredicateConfig:
    """`metadata` belongs to OMIT_METADATA: a host with all of these below `envoy.lb` is left out."""

    kind: HostPredicate
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ResetHeader:
    """A response header that tells when to come back: after so many seconds, or at a Unix time."""

    name: bytes
    at_time: bool = False


@dataclass(frozen=True, slots=True)
class RetryPolicyConfig:
    """`retry_on` are Envoy's words for conditions, of HTTP and gRPC alike. An interval of 0 is none.

    `previous_priorities` is after how many attempts a retry leaves the priorities that were tried; 0 for never.
    """

    retry_on: frozenset[str] = frozenset()
    num_retries: int = 1
    per_try_timeout: float = 0.0
    per_try_idle_timeout: float = 0.0
    retriable_status_codes: frozenset[int] = frozenset()
    retriable_headers: tuple[HeaderMatch, ...] = ()
    retriable_request_headers: tuple[HeaderMatch, ...] = ()
    base_interval: float = 0.025
    max_interval: float = 0.25
    reset_headers: tuple[ResetHeader, ...] = ()
    reset_max_interval: float = 300.0
    host_predicates: tuple[HostPredicateConfig, ...] = ()
    host_selection_attempts: int = 1
    previous_priorities: int = 0
