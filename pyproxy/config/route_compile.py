"""Compiles route tables: protobuf -> `config.route` values. Envoy: envoy.config.route.v3.RouteConfiguration.

A condition of a route that we cannot check is a fault, not an unhonoured field: a route without one of its conditions
would take requests that are not meant for it.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.config_source import ApiSourceConfig, ConfigSourceConfig
from pyproxy.config.config_source_compile import compile_config_source
from pyproxy.config.extensions import CompileContext, compile_overrides
from pyproxy.config.header_compile import compile_header_changes
from pyproxy.config.matcher_compile import compile_header_match
from pyproxy.config.metadata import compile_metadata
from pyproxy.config.mirror_compile import compile_mirrors
from pyproxy.config.parts import part
from pyproxy.config.retry_compile import compile_buffer_limit, compile_hedge, compile_retry
from pyproxy.config.route import (
    Action,
    DirectResponseAction,
    NonForwardingAction,
    PathKind,
    RouteConfig,
    RouteMatch,
    RouteTableConfig,
    VirtualClusterConfig,
    VirtualHostConfig,
)
from pyproxy.config.route_action_compile import compile_direct_response, compile_forward, compile_redirect
from pyproxy.config.route_match_compile import compile_route_match
from pyproxy.config.tracing_compile import compile_route_tracing
from pyproxy.config.view import View

_MOST_DIRECT_BODY: Final = 4096
"""Envoy's default of max_direct_response_body_size_bytes."""
_NO_MATCH: Final = RouteMatch(PathKind.PREFIX, "/")


def compile_route_table(view: View, context: CompileContext, *, validate: bool, vhds: bool = False) -> RouteTableConfig:
    """A `RouteConfiguration`. `validate` says whether clusters must exist where the table itself does not say it,
    `vhds` whether more virtual hosts may come from elsewhere."""
    if view.has("vhds") and not vhds:
        view.fail("vhds", "is for routes that come from elsewhere themselves", expected="virtual_hosts")
    checked = view.wrapped("validate_clusters")
    most_body = view.wrapped("max_direct_response_body_size_bytes")
    compiler = _TableCompiler(
        context,
        validate=validate if checked is None else bool(checked),
        most_body=_MOST_DIRECT_BODY if most_body is None else most_body,
    )
    hosts = view.each("virtual_hosts", compiler.virtual_host)
    compiler.check_mirrors(view)
    _check_domains(view)
    return RouteTableConfig(
        name=view.text("name"),
        virtual_hosts=hosts,
        headers=compile_header_changes(view),
        most_specific_headers_win=bool(view.scalar("most_specific_header_mutations_wins")),
        internal_only_headers=tuple(str(name).lower().encode() for name in view.scalars("internal_only_headers")),
        ignore_port=bool(view.scalar("ignore_port_in_host_matching")),
        vhost_header=view.text("vhost_header").lower().encode(),
        mirrors=compile_mirrors(view),
        filter_configs=compile_overrides(view, context),
        metadata=compile_metadata(view),
        vhds=part(view.report, None, lambda: _vhds(view, context)),
    )


def _vhds(view: View, context: CompileContext) -> ConfigSourceConfig | None:
    vhds = view.child("vhds")
    if vhds is None:
        return None
    found = compile_config_source(vhds.need("config_source"), context)
    if isinstance(found.source, ApiSourceConfig) and not found.source.api_type.delta:
        vhds.fail("config_source", f"{found.source.api_type.value} has no virtual hosts", expected="DELTA_GRPC")
    return found


def compile_virtual_host(view: View, context: CompileContext) -> VirtualHostConfig:
    """A `VirtualHost` by itself (VHDS)."""
    return _TableCompiler(context, validate=False, most_body=_MOST_DIRECT_BODY).virtual_host(view)


class _TableCompiler:
    """What all routes of one table share."""

    def __init__(self, context: CompileContext, *, validate: bool, most_body: int) -> None:
        self.context = context
        self.validate = validate
        self.most_body = most_body

    def check_mirrors(self, view: View) -> None:
        if self.validate:
            self.context.check_mirrors(view)

    def virtual_host(self, view: View) -> VirtualHostConfig:
        self.check_mirrors(view)
        if view.has("matcher"):
            view.fail("matcher", "a tree of matchers is not supported yet", expected="routes")
        view.ignore("rate_limits", "cors")  # only filters ask for them, and those filters are refused
        return VirtualHostConfig(
            name=view.text("name"),
            domains=tuple(view.scalars("domains")),
            routes=view.each("routes", self.route),
            headers=compile_header_changes(view),
            retry=part(view.report, None, lambda: compile_retry(view)),
            body_buffer_limit=compile_buffer_limit(view),
            mirrors=compile_mirrors(view),
            hedge=bool(compile_hedge(view)),
            tell_timeout_retries=bool(view.scalar("include_is_timeout_retry_header")),
            require_tls=view.enum("require_tls"),
            virtual_clusters=view.each("virtual_clusters", _compile_virtual_cluster),
            include_attempt_count_in_request=bool(view.scalar("include_request_attempt_count")),
            include_attempt_count_in_response=bool(view.scalar("include_attempt_count_in_response")),
            filter_configs=compile_overrides(view, self.context),
            metadata=compile_metadata(view),
        )

    def route(self, view: View) -> RouteConfig:
        report = view.report
        match = part(report, _NO_MATCH, lambda: compile_route_match(view.need("match")))
        return RouteConfig(
            match=match,
            action=part(report, _NO_ACTION, lambda: self._action(view, match)),
            name=view.text("name"),
            headers=compile_header_changes(view),
            body_buffer_limit=compile_buffer_limit(view),
            filter_configs=compile_overrides(view, self.context),
            metadata=compile_metadata(view),
            tracing=compile_route_tracing(view),
            stat_prefix=view.text("stat_prefix"),
        )

    def _action(self, view: View, match: RouteMatch) -> Action:
        kind = view.oneof("action")
        match kind:
            case "route":
                return compile_forward(view.need(kind), self.context, match, validate=self.validate)
            case "redirect":
                return compile_redirect(view.need(kind))
            case "direct_response":
                return self._direct_response(view.need(kind))
            case "non_forwarding_action":
                view.need(kind)
                return NonForwardingAction()
            case _:
                view.fail(
                    kind or "",
                    f"the action {kind} is not supported" if kind else "has no action",
                    expected="route, redirect or direct_response",
                )

    def _direct_response(self, view: View) -> DirectResponseAction:
        return compile_direct_response(view, self.most_body)


_NO_ACTION: Final[Action] = NonForwardingAction()


def _compile_virtual_cluster(view: View) -> VirtualClusterConfig:
    headers = view.each("headers", compile_header_match)
    if not view.message.headers:  # type: ignore[attr-defined]
        view.fail("headers", "is empty", expected="at least one header matcher")
    return VirtualClusterConfig(view.text("name"), headers)


def _check_domains(view: View) -> None:
    """No domain may stand twice in one table, in whatever case: hosts are compared in lower case."""
    owners: dict[str, str] = {}
    for at, host in enumerate(view.message.virtual_hosts):  # type: ignore[attr-defined]
        for place, domain in enumerate(host.domains):
            name = domain.lower()
            if name in owners:
                path = (*view.path, "virtual_hosts", at, "domains", place)
                view.report.add(path, f"the domain {domain!r} stands in the virtual host {owners[name]!r} already")
            owners.setdefault(name, host.name)
