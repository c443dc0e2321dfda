"""A route as requests meet it: built once, at its first match; shared by all its requests.

What its configuration says is worked out here, so that a request only calls what is not None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pyproxy.config.route import (
    Action,
    DirectResponseAction,
    FilterOverride,
    ForwardAction,
    NonForwardingAction,
    RedirectAction,
    RouteConfig,
)
from pyproxy.http.message import Request, Response
from pyproxy.routes.forwarding import build_resolve, build_rewrite_host
from pyproxy.routes.hash_policy import build_hash
from pyproxy.routes.header_changes import ResponseChange
from pyproxy.routes.internal_redirect import InternalRedirects
from pyproxy.routes.levels import Levels
from pyproxy.routes.mirror import Mirror, build_mirrors
from pyproxy.routes.redirect import build_direct_response, build_redirect
from pyproxy.routes.retry import NO_RETRIES, RetryPolicy
from pyproxy.routes.target import NO_TARGET, Target

_NO_FORWARD: Final = ForwardAction(timeout=0.0)


class Route:
    """`answer` makes the response of a redirect or direct response, with its headers changed already; None where the
    request is forwarded. `resolve` says where to, the same for a request each time.
    """

    __slots__ = (
        "action",
        "answer",
        "attempt_count_in_request",
        "attempt_count_in_response",
        "body_buffer_limit",
        "config",
        "counted",
        "ends_connect",
        "filter_configs",
        "grpc_timeout_max",
        "grpc_timeout_offset",
        "hash",
        "hedge",
        "idle_timeout",
        "internal_redirects",
        "max_stream_duration",
        "metadata",
        "mirrors",
        "mutate_response",
        "name",
        "not_found_status",
        "per_try_idle_timeout",
        "per_try_timeout",
        "priority_high",
        "resolve",
        "retry",
        "retry_base",
        "rewrite_host",
        "tell_timeout_retries",
        "timeout",
        "timeout_ms",
        "timers",
        "tracing",
        "upgrades",
        "virtual_cluster",
        "virtual_host",
        "virtual_host_metadata",
    )

    def __init__(self, config: RouteConfig, levels: Levels) -> None:
        self.config = config
        self.action: Action = config.action
        self.name = config.name
        self.metadata = config.metadata
        self.tracing = config.tracing
        self.virtual_host = levels.virtual_host.name
        self.virtual_host_metadata = levels.virtual_host.metadata
        self.filter_configs: Mapping[str, FilterOverride] = (
            {**levels.filter_configs, **config.filter_configs} if config.filter_configs else levels.filter_configs
        )
        self.virtual_cluster: Callable[[Request], str] | None = levels.virtual_cluster
        """Gives the name of the virtual cluster that a request belongs to; None where there are none."""
        self.counted = levels.virtual_cluster is not None or bool(config.stat_prefix)
        """Its requests have statistics of their own."""
        self.attempt_count_in_request = levels.virtual_host.include_attempt_count_in_request
        self.attempt_count_in_response = levels.virtual_host.include_attempt_count_in_response
        self.answer: Callable[[Request], Response] | None = None
        self.mutate_response: ResponseChange | None = None
        """For local replies of a route whose target is not known yet."""
        self.resolve: Callable[[Request], Target] = lambda _: NO_TARGET
        forward = _NO_FORWARD
        match config.action:
            case ForwardAction() as forward:
                self.mutate_response = levels.response_change(config.headers)
                self.resolve = build_resolve(config, forward, levels)
            case NonForwardingAction():
                self.mutate_response = levels.response_change(config.headers)
                missing = Target("", mutate_response=self.mutate_response)
                self.resolve = lambda _: missing
            case RedirectAction() as redirect:
                change = levels.response_change(config.headers)
                self.answer = build_redirect(config.match, redirect, change, tell=levels.table.tell_originals)
            case DirectResponseAction() as direct:
                self.answer = build_direct_response(direct, levels.response_change(config.headers))
        own = config.body_buffer_limit
        self.body_buffer_limit: int | None = levels.virtual_host.body_buffer_limit if own is None else own
        mirrored = forward.mirrors or levels.virtual_host.mirrors or levels.table.config.mirrors
        self.mirrors: tuple[Mirror, ...] = ()
        """Who gets copies of requests; what the most specific level says counts alone."""
        if mirrored:
            self.mirrors = build_mirrors(mirrored, levels.table.values, levels.table.rng)
        self.tell_timeout_retries = levels.virtual_host.tell_timeout_retries
        self._forward(forward, levels)

    def _forward(self, action: ForwardAction, levels: Levels) -> None:
        self.timeout = action.timeout
        self.timeout_ms = b"%d" % round(action.timeout * 1000)
        self.idle_timeout = action.idle_timeout
        self.max_stream_duration = action.max_stream_duration
        self.upgrades = dict(action.upgrades)
        self.ends_connect = action.ends_connect
        self.grpc_timeout_max = action.grpc_timeout_max
        self.grpc_timeout_offset = action.grpc_timeout_offset
        config = levels.virtual_host.retry if action.retry is None else action.retry
        self.hedge = levels.virtual_host.hedge if action.hedge is None else action.hedge
        self.per_try_timeout: float = 0.0 if config is None else config.per_try_timeout
        self.per_try_idle_timeout: float = 0.0 if config is None else config.per_try_idle_timeout
        base = NO_RETRIES if config is None else levels.retry(config)
        self.retry_base: RetryPolicy = base
        """What a request that asks for retries begins with."""
        self.retry: RetryPolicy | None = base if base.on else None
        """When a request is tried again; None where nothing is said of it."""
        self.timers = (
            action.idle_timeout is not None
            or action.max_stream_duration is not None
            or action.grpc_timeout_max is not None
        )
        """Some clock is set differently from the connection manager's."""
        follows = action.internal_redirects
        self.internal_redirects: InternalRedirects | None = None if follows is None else InternalRedirects(follows)
        """Which redirects of the upstream are followed; None where all are passed on."""
        self.not_found_status = action.cluster_not_found_status
        self.priority_high = action.priority_high
        self.hash: Callable[[Request], int] | None = build_hash(action.hash_policies)
        """What a request is spread by; None where nothing is said."""
        self.rewrite_host: Callable[[Request, Any], None] | None = build_rewrite_host(action, levels)
        """For `auto_host_rewrite`, once the upstream host is known."""

    def filter_config(self, name: str, request: Request | None = None) -> FilterOverride | None:
        """What the most specific level says about a filter. Weighted clusters can say something too: they are asked
        only if there is a request."""
        if request is not None and isinstance(self.action, ForwardAction) and self.action.weighted:
            entry = self.resolve(request).entry
            if entry is not None and name in entry.filter_configs:
                return entry.filter_configs[name]
        return self.filter_configs.get(name)

    def __repr__(self) -> str:
        return f"<Route {self.name or self.config.match.path!r} of {self.virtual_host!r}>"
