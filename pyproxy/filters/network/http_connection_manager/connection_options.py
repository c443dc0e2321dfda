"""How the connections of a connection manager behave, made once from its configuration."""

from __future__ import annotations

import asyncio
from functools import partial

from pyproxy.filters.network.http_connection_manager.config import HttpConnectionManagerConfig
from pyproxy.http.h1_options import H1DownstreamOptions
from pyproxy.http.h2_counts import H2Counts
from pyproxy.http.h2_downstream import H2DownstreamOptions
from pyproxy.http.h2_keepalive import Keepalive
from pyproxy.tasks import Deadlines


def h1_options(config: HttpConnectionManagerConfig, loop: asyncio.AbstractEventLoop) -> H1DownstreamOptions:
    timeouts = config.timeouts

    def deadlines(seconds: float) -> Deadlines | None:
        return Deadlines(loop, seconds) if seconds else None

    return H1DownstreamOptions(
        idle=deadlines(timeouts.connection_idle),
        stream_idle=deadlines(timeouts.stream_idle),
        request_headers=deadlines(timeouts.request_headers),
        delayed_close=deadlines(timeouts.delayed_close),
        max_duration=deadlines(timeouts.max_connection_duration),
        max_requests=config.max_requests_per_connection,
        trailers=config.codec.keep_trailers,
        proper_case=config.header_key_format == "proper",
        sniff=config.codec_type == "AUTO",
        tunnels=config.tunnels,
    )


def h2_options(
    config: HttpConnectionManagerConfig,
    loop: asyncio.AbstractEventLoop,
    http1: H1DownstreamOptions,
    counts: H2Counts,
) -> H2DownstreamOptions:
    """With the same clocks, so that they are of one worker's connections and not of one version's."""
    keepalive = config.http2.keepalive
    return H2DownstreamOptions(
        idle=http1.idle,
        stream_idle=http1.stream_idle,
        request_headers=http1.request_headers,
        delayed_close=http1.delayed_close,
        max_duration=http1.max_duration,
        drain=Deadlines(loop, config.timeouts.drain) if config.timeouts.drain else None,
        max_requests=config.max_requests_per_connection,
        stream_errors=config.http2.stream_errors,
        keepalive=None if keepalive is None else partial(Keepalive, loop, keepalive),
        counts=counts,
    )
