"""Which Envoy extensions there are, and how the compilers reach them.

An extension is found by the type of its configuration, never by its name (Envoy: extension lookup by type URL). The
table is handed in by the caller (`filters.builtin`), so that this room needs to know no filter.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, NoReturn

from pyproxy.config.bind import BindConfig
from pyproxy.config.discovered import DiscoveredConfig
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.listener import FilterConfig
from pyproxy.config.route import FilterOverride
from pyproxy.config.tracing import TracerConfig
from pyproxy.config.view import View

_ROUTE_WRAPPER = "envoy.config.route.v3.FilterConfig"


class Category(Enum):
    """Where an extension may stand; the value is how people call it."""

    LISTENER_FILTER = "listener filter"
    NETWORK_FILTER = "network filter"
    HTTP_FILTER = "HTTP filter"


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension. Its `module` has `compile(view, context)`, and with a `route_type` `compile_route(view, context)`.

    `name` is Envoy's name for it, `type_name` the message that configures it, `route_type` the message that
    configures it for a route. A terminal filter is the last of its chain, and only that.
    """

    name: str
    type_name: str
    category: Category
    module: str
    terminal: bool = False
    route_type: str = ""


class Extensions:
    """The table of what there is. Modules are imported at first use."""

    __slots__ = ("_by_route_type", "_by_type", "all")

    def __init__(self, extensions: Iterable[Extension] = ()) -> None:
        self.all = tuple(extensions)
        self._by_type: Mapping[tuple[Category, str], Extension] = {(e.category, e.type_name): e for e in self.all}
        self._by_route_type: Mapping[str, Extension] = {e.route_type: e for e in self.all if e.route_type}

    def find(self, category: Category, type_name: str) -> Extension | None:
        return self._by_type.get((category, type_name))

    def find_for_route(self, type_name: str) -> Extension | None:
        """The HTTP filter whose routes are configured by a type."""
        return self._by_route_type.get(type_name)

    def named(self, category: Category, name: str) -> Extension | None:
        """By Envoy's name for it: only to tell people what they meant."""
        return next((e for e in self.all if e.category is category and e.name == name), None)

    def nearest(self, category: Category, *wanted: str) -> str:
        """The likeliest type for names or types that are not known; empty where none comes near."""
        # Only the last words tell extensions apart: long common packages would make all of them look alike.
        types: dict[str, str] = {}
        for extension in self.all:
            if extension.category is category:
                types[_last_word(extension.type_name)] = types[_last_word(extension.name)] = extension.type_name
        for one in wanted:
            near = difflib.get_close_matches(_last_word(one), types, 1, 0.7)
            if near:
                return types[near[0]]
        return ""


def _last_word(name: str) -> str:
    return name.rpartition(".")[2].replace("_", "").lower()


@dataclass(slots=True)
class CompileContext:
    """What the compilers share. `clusters` are the names of all clusters there are, None where that is not known."""

    extensions: Extensions
    clusters: frozenset[str] | None = None
    tracer: TracerConfig | None = None
    """For connection managers that trace and name no provider (the bootstrap's `tracing`)."""
    bind: BindConfig | None = None
    """Where connections to upstreams come from, for clusters that do not say."""
    dns_caches: dict[str, Any] = field(default_factory=dict)
    """What was said of the caches of dynamic forward proxies, by their names."""
    _suggestions: dict[str, str] = field(default_factory=dict)

    def check_cluster(self, view: View, name: str, cluster: str, what: str = "cluster") -> None:
        """Reject a reference to a cluster that there is not."""
        if self.clusters is None or cluster in self.clusters:
            return
        view.fail(name, f"unknown {what} {cluster!r}", expected="the name of a cluster", nearest=self._suggest(cluster))

    def check_mirrors(self, view: View) -> None:
        """The clusters of `request_mirror_policies` must exist."""
        for at, policy in enumerate(view.message.request_mirror_policies):  # type: ignore[attr-defined]
            if policy.cluster and self.clusters is not None and policy.cluster not in self.clusters:
                path = (*view.path, "request_mirror_policies", at, "cluster")
                view.report.add(
                    path, f"unknown shadow cluster {policy.cluster!r}", nearest=self._suggest(policy.cluster)
                )

    def _suggest(self, cluster: str) -> str:
        # A comparison with thousands of names costs milliseconds, and a table may have thousands of such faults.
        if cluster not in self._suggestions and len(self._suggestions) < _MOST_SUGGESTIONS:
            near = difflib.get_close_matches(cluster, self.clusters or (), 1, 0.6)
            self._suggestions[cluster] = "".join(near)
        return self._suggestions.get(cluster, "")


_MOST_SUGGESTIONS = 20


def compile_filter(view: View, context: CompileContext, category: Category) -> tuple[FilterConfig, Extension] | None:
    """A `Filter`, `ListenerFilter` or `HttpFilter`; None where it is optional and not known."""
    name = view.text("name")
    optional = category is Category.HTTP_FILTER and bool(view.scalar("is_optional"))
    disabled = category is Category.HTTP_FILTER and bool(view.scalar("disabled"))
    if view.has("config_discovery"):
        return _compile_discovered(view.need("config_discovery"), context, category, name, disabled=disabled)
    if not view.has("typed_config"):
        _fail_without_type(view, context, category, name)
    try:
        typed = _unpack(view)
        found = context.extensions.find(category, typed.type_name)
    except InvalidConfig:
        if not optional:
            raise
        return None
    if found is None:
        if optional:
            typed.honour_all()
            return None
        _fail_unknown(view, context, category, name, typed.type_name)
    compile_config: Callable[[View, CompileContext], Any] = importlib.import_module(found.module).compile
    return FilterConfig(name, typed.type_name, compile_config(typed, context), disabled), found


def _compile_discovered(
    view: View, context: CompileContext, category: Category, name: str, *, disabled: bool
) -> tuple[FilterConfig, Extension]:
    """An `ExtensionConfigSource`: the configuration comes from elsewhere, under the name of the filter."""
    # Sources of control planes may have TLS of their own, and what that needs imports this.
    from pyproxy.config.config_source_compile import compile_config_source

    types = tuple(str(url).rpartition("/")[2] for url in view.scalars("type_urls"))
    found = [context.extensions.find(category, one) for one in types]
    for one, extension in zip(types, found, strict=True):
        if extension is None:
            near = context.extensions.nearest(category, one)
            view.fail("type_urls", f"no {category.value} of type {one} is supported", nearest=near)
    known = [one for one in found if one is not None]
    terminal = any(one.terminal for one in known)
    if not all(one.terminal is terminal for one in known):
        view.fail("type_urls", "name filters for the end of the chain together with others")
    if terminal and category is Category.NETWORK_FILTER:
        view.fail("type_urls", "the last network filter cannot come from elsewhere yet", expected="typed_config")
    default = None
    if view.has("default_config"):
        typed = view.any("default_config")
        assert typed is not None
        default = compile_discovered(name, typed, context, category, types)
    at_once = bool(view.scalar("apply_default_config_without_warming"))
    if at_once and default is None:
        view.fail("apply_default_config_without_warming", "has no default_config to apply")
    source = compile_config_source(view.need("config_source"), context)
    config = DiscoveredConfig(category.value, name, source, types, default, at_once)
    return FilterConfig(name, types[0], config, disabled), known[0]


def compile_discovered(
    name: str, typed: View, context: CompileContext, category: Category, types: Collection[str]
) -> FilterConfig:
    """The configuration of a filter that has come, which has to be of one of some types (Envoy's words)."""
    if types and typed.type_name not in types:
        typed.fail("", f"filter config has type URL {typed.type_name} but expect {', '.join(types)}")
    found = context.extensions.find(category, typed.type_name)
    if found is None:
        typed.fail("", f"no {category.value} of type {typed.type_name} is supported")
    return compile_extension(name, typed, context, category)


def compile_extension(name: str, typed: View, context: CompileContext, category: Category) -> FilterConfig:
    """A filter that nobody configured, which has to be one that there is."""
    found = context.extensions.find(category, typed.type_name)
    assert found is not None, typed.type_name
    compile_config: Callable[[View, CompileContext], Any] = importlib.import_module(found.module).compile
    return FilterConfig(name, typed.type_name, compile_config(typed, context))


def check_order(view: View, field_name: str, chain: list[tuple[FilterConfig, Extension]], what: str) -> None:
    """A terminal filter stands at the end, and only there."""
    for config, extension in chain[:-1]:
        if extension.terminal:
            view.fail(field_name, f"the terminal filter {config.name!r} is not the last of the {what} filter chain")
    if chain:
        config, extension = chain[-1]
        if not extension.terminal:
            view.fail(field_name, f"the last filter of the {what} filter chain, {config.name!r}, is not a terminal one")
        if config.disabled:
            view.fail(field_name, f"the terminal filter {config.name!r} cannot be disabled")


def compile_overrides(view: View, context: CompileContext) -> Mapping[str, FilterOverride]:
    """`typed_per_filter_config` of a route table, virtual host, route or weighted cluster."""
    if not view.message.typed_per_filter_config:  # type: ignore[attr-defined]
        return NO_OVERRIDES
    overrides: dict[str, FilterOverride] = {}
    for name, packed in view.entries("typed_per_filter_config").items():
        with view.report.isolate():
            override = _compile_override(packed, context, name)
            if override is not None:
                overrides[name] = override
    return MappingProxyType(overrides)


NO_OVERRIDES: Mapping[str, FilterOverride] = MappingProxyType({})


def _compile_override(packed: View, context: CompileContext, name: str) -> FilterOverride | None:
    typed = packed.unwrap()
    packed.honour_all()
    if typed.type_name != _ROUTE_WRAPPER:
        return _compile_route_config(typed, context, name)
    if typed.scalar("disabled"):
        typed.ignore("config", "is_optional")
        return FilterOverride(disabled=True)
    if not typed.has("config"):
        typed.fail("config", f"is empty for the filter {name!r}", expected="a configuration, or disabled: true")
    optional = bool(typed.scalar("is_optional"))
    if not typed.message.config.type_url:  # type: ignore[attr-defined]
        typed.ignore("config")
        return (
            FilterOverride()
        )  # `config: {}`: here the filter is not left out, though it is disabled elsewhere (Envoy)
    try:
        inner = typed.any("config")
        assert inner is not None
        if optional and context.extensions.find_for_route(inner.type_name) is None:
            inner.honour_all()
            return None
        return _compile_route_config(inner, context, name)
    except InvalidConfig:
        if not optional:
            raise
        return None


def _compile_route_config(typed: View, context: CompileContext, name: str) -> FilterOverride:
    found = context.extensions.find_for_route(typed.type_name)
    if found is not None:
        compile_route: Callable[[View, CompileContext], Any] = importlib.import_module(found.module).compile_route
        made = compile_route(typed, context)
        return made if isinstance(made, FilterOverride) else FilterOverride(made)
    if context.extensions.find(Category.HTTP_FILTER, typed.type_name) is not None:
        typed.fail("", f"the filter {name!r} takes no configuration for routes")
    typed.fail("", f"{typed.type_name} does not configure a filter that is supported here (filter {name!r})")


def _unpack(view: View) -> View:
    typed = view.any("typed_config")
    assert typed is not None
    return typed


def _fail_without_type(view: View, context: CompileContext, category: Category, name: str) -> NoReturn:
    meant = context.extensions.named(category, name)
    view.fail(
        "typed_config",
        f"the {category.value} {name!r} has none, and a name alone chooses nothing",
        expected="a typed_config with an @type",
        nearest=f"type.googleapis.com/{meant.type_name}" if meant else "",
    )


def _fail_unknown(view: View, context: CompileContext, category: Category, name: str, type_name: str) -> NoReturn:
    view.fail(
        "typed_config",
        f"the {category.value} {name!r} of type {type_name} is not supported",
        expected=f"one of {', '.join(sorted(e.type_name for e in context.extensions.all if e.category is category))}",
        nearest=context.extensions.nearest(category, type_name, name),
    )
