"""Compiles what a route does: protobuf -> the actions in `config.route`.

Envoy: envoy.config.route.v3.RouteAction, RedirectAction, DirectResponseAction.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.data_source import read_data_source
from pyproxy.config.extensions import CompileContext, compile_overrides
from pyproxy.config.header_compile import compile_header_changes
from pyproxy.config.internal_redirect import compile_internal_redirect
from pyproxy.config.matcher_compile import compile_regex_text
from pyproxy.config.mirror_compile import compile_mirrors
from pyproxy.config.parts import part
from pyproxy.config.regex import BadRegex, check_substitution
from pyproxy.config.retry_compile import compile_hedge, compile_retry
from pyproxy.config.route import (
    DirectResponseAction,
    ForwardAction,
    HashKind,
    HashPolicyConfig,
    HostRewrite,
    PathKind,
    PathRewrite,
    RedirectAction,
    RegexRewrite,
    RouteMatch,
    WeightedCluster,
)
from pyproxy.config.subset import compile_criteria
from pyproxy.config.upgrade_check import Upgrades, compile_upgrades
from pyproxy.config.uri_template import BadTemplate, check_rewrite, check_template
from pyproxy.config.view import View

DEFAULT_TIMEOUT: Final = 15.0
TEMPLATE_REWRITE: Final = "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig"
_MOST_WEIGHT: Final = 2**32 - 1

_NOT_FOUND: Final = {"SERVICE_UNAVAILABLE": 503, "NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500}
_REDIRECTS: Final = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}
_Weighted = tuple[tuple[WeightedCluster, ...], str, bytes]
_NOT_WEIGHTED: Final[_Weighted] = ((), "", b"")
_NO_UPGRADES: Final[tuple[Upgrades, bool]] = ((), False)
_SAME_PATH: Final = PathRewrite()
_SAME_HOST: Final = HostRewrite()
_HOST_REWRITES: Final = frozenset(
    (
        "host_rewrite_literal",
        "auto_host_rewrite",
        "host_rewrite_header",
        "host_rewrite_path_regex",
        "append_x_forwarded_host",
    )
)
_CLUSTER_KINDS: Final = ("cluster", "cluster_header", "weighted_clusters")
_PATH_REWRITES: Final = ("prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite")


def compile_forward(view: View, context: CompileContext, match: RouteMatch, *, validate: bool) -> ForwardAction:
    """A `RouteAction`. With `validate` the clusters that it names must exist."""
    # What only early data and filters for rate limits and CORS ask for: none of them is
    # honoured here, and what would switch them on is refused or listed by itself.
    view.ignore("early_data_policy", "rate_limits", "include_vh_rate_limits", "cors")
    report = view.report
    if validate:
        context.check_mirrors(view)
    # Tables have thousands of actions, and most set two or three of fifty fields: the groups that are absent are not
    # looked at, and what stands for them is shared.
    present = {field.name for field, _ in view.message.ListFields()}
    weighted, prefix, header = _NOT_WEIGHTED
    if "weighted_clusters" in present:
        weighted, prefix, header = part(report, _NOT_WEIGHTED, lambda: _weighted(view, context, validate=validate))
    path_rewrite, host_rewrite = _SAME_PATH, _SAME_HOST
    if not present.isdisjoint(_PATH_REWRITES):
        path_rewrite = part(report, _SAME_PATH, lambda: _path_rewrite(view, match))
    if not present.isdisjoint(_HOST_REWRITES):
        host_rewrite = part(report, _SAME_HOST, lambda: _host_rewrite(view))
    upgrades, ends_connect = _NO_UPGRADES
    if "upgrade_configs" in present:
        upgrades, ends_connect = part(report, _NO_UPGRADES, lambda: _upgrades(view))
    timeout = view.seconds("timeout")
    if timeout is None:
        timeout = DEFAULT_TIMEOUT
    if "max_stream_duration" in present:
        timeout = 0.0  # Envoy: whoever sets that one means it instead
    return ForwardAction(
        cluster=part(report, "", lambda: _cluster(view, context, validate=validate)),
        cluster_header=view.text("cluster_header").lower().encode(),
        weighted=weighted,
        weighted_runtime_prefix=prefix,
        weighted_random_header=header,
        cluster_not_found_status=_status(view, "cluster_not_found_response_code", _NOT_FOUND),
        path_rewrite=path_rewrite,
        host_rewrite=host_rewrite,
        timeout=timeout,
        idle_timeout=view.seconds("idle_timeout"),
        max_stream_duration=_max_stream_duration(view) if "max_stream_duration" in present else None,
        retry=part(report, None, lambda: compile_retry(view)) if "retry_policy" in present else None,
        upgrades=upgrades,
        ends_connect=ends_connect,
        grpc_timeout_max=_grpc_timeout(view, "grpc_timeout_header_max") if "max_stream_duration" in present else None,
        grpc_timeout_offset=(_grpc_timeout(view, "grpc_timeout_header_offset") or 0.0)
        if "max_stream_duration" in present
        else 0.0,
        priority_high=view.enum("priority") == "HIGH",
        hedge=compile_hedge(view),
        subset=compile_criteria(view) if "metadata_match" in present else None,
        internal_redirects=part(report, None, lambda: compile_internal_redirect(view)),
        mirrors=compile_mirrors(view) if "request_mirror_policies" in present else (),
        hash_policies=_hash_policies(view) if "hash_policy" in present else (),
    )


def compile_redirect(view: View) -> RedirectAction:
    """A `RedirectAction`."""
    regex = view.child("regex_rewrite")
    return RedirectAction(
        status=_status(view, "response_code", _REDIRECTS),
        https=bool(view.scalar("https_redirect")),
        scheme=view.text("scheme_redirect"),
        host=view.text("host_redirect"),
        port=view.scalar("port_redirect"),
        path=view.text("path_redirect"),
        prefix_rewrite=view.text("prefix_rewrite"),
        regex_rewrite=None if regex is None else _regex_rewrite(regex),
        strip_query=bool(view.scalar("strip_query")),
    )


def compile_direct_response(view: View, most_body: int) -> DirectResponseAction:
    """A `DirectResponseAction`; its body holds at most `most_body` bytes."""
    body = view.child("body")
    return DirectResponseAction(
        status=view.scalar("status"), body=b"" if body is None else read_data_source(body, most_body)
    )


def _hash_policies(view: View) -> tuple[HashPolicyConfig, ...]:
    found = view.each("hash_policy", _hash_policy)
    return tuple(policy for policy in found if policy is not None)


def _hash_policy(view: View) -> HashPolicyConfig | None:
    """None for one that is not honoured; it is listed."""
    kind = view.oneof("policy_specifier")
    terminal = bool(view.scalar("terminal"))
    match kind:
        case "header":
            header = view.need(kind)
            regex = header.child("regex_rewrite")
            rewrite = None if regex is None else _regex_rewrite(regex)
            return HashPolicyConfig(HashKind.HEADER, header.text("header_name").lower(), terminal, rewrite)
        case "cookie":
            cookie = view.need(kind)
            ttl = cookie.seconds("ttl")
            return HashPolicyConfig(
                HashKind.COOKIE,
                cookie.text("name"),
                terminal,
                ttl=None if ttl is None else int(ttl),
                path=cookie.text("path"),
                attributes=cookie.each("attributes", lambda one: (one.text("name"), one.text("value"))),
            )
        case "connection_properties":
            by_source = bool(view.need(kind).scalar("source_ip"))
            return HashPolicyConfig(HashKind.SOURCE_IP, terminal=terminal) if by_source else None
        case "query_parameter":
            return HashPolicyConfig(HashKind.QUERY, view.need(kind).text("name"), terminal)
        case "filter_state":
            return HashPolicyConfig(HashKind.FILTER_STATE, view.need(kind).text("key"), terminal)
        case _:
            return None


# Clusters


def _cluster(view: View, context: CompileContext, *, validate: bool) -> str:
    kind = view.oneof("cluster_specifier")
    if kind not in _CLUSTER_KINDS:
        what = f"{kind} is not supported" if kind else "says no cluster"
        view.fail(kind or "", what, expected=", ".join(_CLUSTER_KINDS))
    name = view.text("cluster")
    if kind == "cluster" and validate:
        context.check_cluster(view, "cluster", name)
    return name


def _weighted(view: View, context: CompileContext, *, validate: bool) -> _Weighted:
    """The targets, the prefix of their runtime keys, and the header that holds the random value."""
    split = view.child("weighted_clusters")
    if split is None:
        return _NOT_WEIGHTED
    split.ignore("total_weight")  # deprecated; Envoy takes the sum
    entries = split.each("clusters", lambda entry: _weighted_cluster(entry, context, validate=validate))
    if len(entries) == len(split.message.clusters):  # type: ignore[attr-defined]
        total = sum(entry.weight for entry in entries)
        if not total:
            split.fail("clusters", "the weights come to 0", expected="at least one weight above 0")
        if total > _MOST_WEIGHT:
            split.fail("clusters", f"the weights come to {total}", expected=f"at most {_MOST_WEIGHT}")
    return entries, split.text("runtime_key_prefix"), split.text("header_name").lower().encode()


def _weighted_cluster(view: View, context: CompileContext, *, validate: bool) -> WeightedCluster:
    name, header = view.text("name"), view.text("cluster_header")
    if bool(name) == bool(header):
        view.fail("name", "is set, and cluster_header too" if name else "is empty", expected="name or cluster_header")
    weight = view.wrapped("weight")
    if weight is None:
        view.fail("weight", "is required")
    if name and validate:
        context.check_cluster(view, "name", name, "weighted cluster")
    return WeightedCluster(
        name=name,
        weight=weight,
        header=header.lower().encode(),
        headers=compile_header_changes(view),
        host_rewrite=view.text("host_rewrite_literal"),
        subset=compile_criteria(view),
        filter_configs=compile_overrides(view, context),
    )


# Rewrites


def _path_rewrite(view: View, match: RouteMatch) -> PathRewrite:
    chosen = [name for name in _PATH_REWRITES if getattr(view.message, name) and _is_set(view, name)]
    if len(chosen) > 1:
        view.fail(chosen[-1], f"is set, and {chosen[0]} too", expected=f"only one of {', '.join(_PATH_REWRITES)}")
    if "path_rewrite" in chosen:
        view.fail("path_rewrite", "rewriting by a format is not supported yet", expected="prefix_rewrite")
    if match.kind is PathKind.TEMPLATE and "prefix_rewrite" in chosen:
        view.fail("prefix_rewrite", "does not go with a uri_template matcher", expected="path_rewrite_policy")
    regex = view.child("regex_rewrite")
    policy = view.child("path_rewrite_policy")
    return PathRewrite(
        prefix=view.text("prefix_rewrite"),
        regex=None if regex is None else _regex_rewrite(regex),
        template="" if policy is None else _template_rewrite(policy, match),
    )


def _is_set(view: View, name: str) -> bool:
    return name in ("prefix_rewrite", "path_rewrite") or view.has(name)


def _template_rewrite(view: View, match: RouteMatch) -> str:
    view.ignore("name")  # extensions are chosen by type
    typed = view.any("typed_config")
    if typed is None or typed.type_name != TEMPLATE_REWRITE:
        found = typed.type_name if typed is not None else "nothing"
        view.fail("typed_config", f"{found} is not a path rewriter that is supported", expected=TEMPLATE_REWRITE)
    if match.kind is not PathKind.TEMPLATE:
        view.fail("", "a uri_template rewriter needs a uri_template matcher", expected="match.path_match_policy")
    text = typed.text("path_template_rewrite")
    try:
        used = check_rewrite(text)
    except BadTemplate as error:
        typed.fail("path_template_rewrite", f"{text!r} is not a template: {error}")
    known = check_template(match.path)
    for name in used:
        if name not in known:
            typed.fail("path_template_rewrite", f"the matcher has no variable {name!r}", expected=", ".join(known))
    return text


def _regex_rewrite(view: View) -> RegexRewrite:
    pattern = compile_regex_text(view.need("pattern"))
    substitution: str = view.message.substitution  # type: ignore[attr-defined]
    try:
        mistaken = check_substitution(pattern, substitution)
    except BadRegex as error:
        view.fail("pattern", str(error))
    if not mistaken:
        # A mistaken one is taken and does nothing useful, as in Envoy; left unread, it is listed as not honoured.
        view.ignore("substitution")
    return RegexRewrite(pattern, substitution)


def _host_rewrite(view: View) -> HostRewrite:
    automatic = view.wrapped("auto_host_rewrite")
    regex = view.child("host_rewrite_path_regex")
    return HostRewrite(
        literal=view.text("host_rewrite_literal"),
        auto=bool(automatic),
        header=view.text("host_rewrite_header").lower().encode(),
        path_regex=None if regex is None else _regex_rewrite(regex),
        append_x_forwarded_host=bool(view.scalar("append_x_forwarded_host")),
    )


# The rest


def _max_stream_duration(view: View) -> float | None:
    """What is said of gRPC timeouts beside it is listed as not honoured."""
    durations = view.child("max_stream_duration")
    return None if durations is None else durations.seconds("max_stream_duration")


def _grpc_timeout(view: View, name: str) -> float | None:
    """How far the timeout that a call says itself is believed, or what is taken off it."""
    durations = view.child("max_stream_duration")
    return None if durations is None else durations.seconds(name)


def _upgrades(view: View) -> tuple[Upgrades, bool]:
    """Which may be asked for, and whether CONNECT ends here."""
    configs = view.children("upgrade_configs")
    upgrades = compile_upgrades(configs)
    ends = False
    for config in configs:
        connect = config.child("connect_config")
        if connect is None:
            continue
        if config.text("upgrade_type").lower() != "connect":
            config.fail("connect_config", "is for CONNECT only", expected="upgrade_type CONNECT")
        for name in ("proxy_protocol_config", "allow_post"):
            if any(field.name == name for field, _ in connect.message.ListFields()):
                connect.fail(name, "is not supported")
        ends = True
    return upgrades, ends


def _status(view: View, name: str, statuses: dict[str, int]) -> int:
    value = view.enum(name)
    if value not in statuses:
        view.fail(name, f"unknown value {value}", expected=f"one of {', '.join(statuses)}")
    return statuses[value]
