"""Whether a request is traced: Envoy's decision, which x-request-id carries from one proxy to the next.

Envoy: "Tracing" in the architecture overview, ConnectionManagerUtility::mutateTracingRequestHeader, and the uuid
request id extension, which packs the decision into the 15th character of the id.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from pyproxy import clock
from pyproxy.config.matchers import Fraction
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.config.tracing import RouteTracing, SamplerConfig, SamplerKind, TracingConfig
from pyproxy.http.message import Headers

REQUEST_ID: Final = b"x-request-id"
_CLIENT_ID: Final = b"x-client-trace-id"
_FORCE: Final = b"x-envoy-force-trace"
_PLACE: Final = 14
_LENGTH: Final = 36
_PARTS: Final = 10_000
_NUMBER: Final = re.compile(rb"[0-9a-fA-F]{8}").match


class Reason(Enum):
    """Why a request is traced. The value is how the request id says so."""

    NOT_TRACEABLE = b"4"
    SAMPLING = b"9"
    SERVICE_FORCED = b"a"
    CLIENT_FORCED = b"b"


_SAID: Final = {reason.value[0]: reason for reason in Reason}


class Shares:
    """The three shares, as numbers out of 10,000."""

    __slots__ = ("client", "overall", "random")

    def __init__(self, config: TracingConfig, values: RuntimeValues, route: RouteTracing | None = None) -> None:
        def parts(general: Fraction, special: Fraction | None) -> float:
            return values.share(general if special is None else special) * _PARTS

        self.client = parts(config.client, None if route is None else route.client)
        self.random = parts(config.random, None if route is None else route.random)
        self.overall = parts(config.overall, None if route is None else route.overall)


def decide(headers: Headers, shares: Shares, *, pack: bool) -> Reason:
    """Decide, and where `pack` is set write the decision into the id. An id that is none is never traced."""
    index = headers.index
    request_id = index.get(REQUEST_ID)
    if request_id is None or _NUMBER(request_id) is None:
        return Reason.NOT_TRACEABLE
    number = int(request_id[:8], 16) % _PARTS
    whole = len(request_id) == _LENGTH
    before = _SAID.get(request_id[_PLACE], Reason.NOT_TRACEABLE) if whole else Reason.NOT_TRACEABLE
    reason = before
    if reason is Reason.NOT_TRACEABLE:
        if _CLIENT_ID in index and _chosen(shares.client):
            reason = Reason.CLIENT_FORCED
        elif _FORCE in index:
            reason = Reason.SERVICE_FORCED
        elif number < shares.random:
            reason = Reason.SAMPLING
    if reason is not Reason.NOT_TRACEABLE and number >= shares.overall:
        reason = Reason.NOT_TRACEABLE
    if reason is not before and pack and whole:
        headers.set(REQUEST_ID, mark(request_id, reason))
    return reason


def mark(request_id: bytes, reason: Reason) -> bytes:
    """The id with the decision in it."""
    return request_id[:_PLACE] + reason.value + request_id[_PLACE + 1 :] if len(request_id) == _LENGTH else request_id


def _chosen(share: float) -> bool:
    return share >= _PARTS or clock.rng.random() * _PARTS < share


def sample(config: SamplerConfig, trace_id: int, parent: bool | None) -> bool:
    """What an OpenTelemetry sampler says. `parent` is the decision of the parent, None without one."""
    if config.parent_based and parent is not None:
        return parent
    match config.kind:
        case SamplerKind.ALWAYS_ON:
            return True
        case SamplerKind.ALWAYS_OFF:
            return False
        case SamplerKind.RATIO:
            # OpenTelemetry SDK specification, TraceIdRatioBased: the low 64 bits, as the SDK for Python compares them.
            return (trace_id & 0xFFFFFFFFFFFFFFFF) < round(config.ratio * (1 << 64))
