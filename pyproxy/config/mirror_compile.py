"""Compiles where copies of requests go. Envoy: envoy.config.route.v3.RouteAction.RequestMirrorPolicy."""

from __future__ import annotations

from pyproxy.config.matcher_compile import compile_runtime_fraction
from pyproxy.config.route import MirrorConfig
from pyproxy.config.view import View


def compile_mirrors(owner: View) -> tuple[MirrorConfig, ...]:
    """The `request_mirror_policies` of a route, a virtual host or a table."""
    return owner.each("request_mirror_policies", _mirror)


def _mirror(view: View) -> MirrorConfig:
    view.ignore("trace_sampled")  # copies are not traced
    cluster, header = view.text("cluster"), view.text("cluster_header")
    if bool(cluster) == bool(header):
        said = "is set, and cluster_header too" if cluster else "is empty"
        view.fail("cluster", said, expected="cluster or cluster_header")
    fraction = view.child("runtime_fraction")
    return MirrorConfig(
        cluster=cluster,
        header=header.lower().encode(),
        fraction=None if fraction is None else compile_runtime_fraction(fraction),
        suffix=not view.scalar("disable_shadow_host_suffix_append"),
        host=view.text("host_rewrite_literal"),
    )
