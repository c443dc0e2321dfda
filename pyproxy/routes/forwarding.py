"""How a forwarding route finds its cluster, and what it does to the messages (envoy.config.route.v3.RouteAction)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyproxy.config.route import ForwardAction, RouteConfig, WeightedCluster
from pyproxy.config.subset import merged
from pyproxy.http.message import Request
from pyproxy.http.predicates import PSEUDO
from pyproxy.routes.header_changes import RequestChange, build_request_change, for_requests
from pyproxy.routes.levels import Levels
from pyproxy.routes.rewrite import build_host_change, build_new_path, build_path_change, set_authority
from pyproxy.routes.target import Target
from pyproxy.routes.weighted import Resolve, build_weighted


def build_resolve(config: RouteConfig, action: ForwardAction, levels: Levels) -> Resolve:
    """A function from a request to its target."""
    if action.weighted:
        members = [_member(config, action, entry, levels) for entry in action.weighted]
        return build_weighted(action, members, levels.table.values, levels.table.rng)
    return _resolve(action.cluster, action.cluster_header, _target(config, action, levels), levels)


def build_rewrite_host(action: ForwardAction, levels: Levels) -> Callable[[Request, Any], None] | None:
    """For `auto_host_rewrite`: the authority becomes the name of the upstream host, if it has one."""
    if not action.host_rewrite.auto:
        return None
    forward, tell = action.host_rewrite.append_x_forwarded_host, levels.table.tell_originals

    def rewrite(request: Request, host: Any) -> None:
        if host.hostname:
            set_authority(request, host.hostname.encode(), forward=forward, tell=tell)

    return rewrite


def _member(config: RouteConfig, action: ForwardAction, entry: WeightedCluster, levels: Levels) -> Resolve:
    return _resolve(entry.name, entry.header, _target(config, action, levels, entry), levels)


def _resolve(cluster: str, header: bytes, pattern: Target, levels: Levels) -> Resolve:
    """The target is `pattern`, in the cluster of that name or of the name that the header gives."""
    if not header:
        pattern.cluster = cluster
        return lambda request: pattern
    read = PSEUDO.get(header) or (lambda request: request.headers.get(header) or b"")
    exists = levels.table.cluster_exists

    def by_header(request: Request) -> Target:
        name = read(request).decode("utf-8", "replace")
        if not name:
            return pattern
        known = exists(name)
        made = Target(
            name if known else "", pattern.mutate_request, pattern.mutate_response, pattern.entry, pattern.subset
        )
        if not known:
            made.unknown = name
        return made

    return by_header


def _target(config: RouteConfig, action: ForwardAction, levels: Levels, entry: WeightedCluster | None = None) -> Target:
    changes = entry.headers if entry is not None else None
    return Target(
        "",
        _request_change(config, action, levels, entry),
        levels.response_change(config.headers, changes),
        entry,
        merged(action.subset, None if entry is None else entry.subset),
    )


def _request_change(
    config: RouteConfig, action: ForwardAction, levels: Levels, entry: WeightedCluster | None
) -> RequestChange | None:
    """Headers, then the authority, then the path: Envoy's order, which formats and x-envoy-original-* show."""
    tell = levels.table.tell_originals
    steps: list[RequestChange | None] = []
    if entry is not None and entry.host_rewrite:
        # The authority of a weighted cluster is set between its own header changes and those of the route.
        own = for_requests([build_request_change(entry.headers)])
        steps += [own, _authority(entry.host_rewrite.encode()), levels.request_change(config.headers)]
    else:
        steps.append(levels.request_change(config.headers, entry.headers if entry is not None else None))
    steps.append(build_host_change(action.host_rewrite, tell=tell))
    new_path = build_new_path(config.match, action.path_rewrite)
    steps.append(None if new_path is None else build_path_change(new_path, tell=tell))
    return _in_order([step for step in steps if step is not None])


def _authority(authority: bytes) -> RequestChange:
    def change(request: Request) -> None:
        request.authority = authority

    return change


def _in_order(steps: list[RequestChange]) -> RequestChange | None:
    if len(steps) < 2:
        return steps[0] if steps else None

    def change(request: Request) -> None:
        for step in steps:
            step(request)

    return change
