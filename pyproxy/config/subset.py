"""Hosts in groups by their metadata (envoy.config.cluster.v3.Cluster.LbSubsetConfig), and which group a route wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.config.metadata import compile_metadata
from pyproxy.config.view import View

Criteria = tuple[tuple[str, str], ...]
"""(name, value as JSON), sorted by name: what all hosts of a subset have below `envoy.lb`."""

NAMESPACE: Final = "envoy.lb"
NO_CRITERIA: Final[Criteria] = ()


@dataclass(frozen=True, slots=True)
class SubsetSelector:
    """`keys` are sorted. `fallback` is empty for the cluster's; `fallback_keys` belong to KEYS_SUBSET."""

    keys: tuple[str, ...]
    single_host: bool = False
    fallback: str = ""
    fallback_keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SubsetConfig:
    """`fallback` is NO_FALLBACK, ANY_ENDPOINT or DEFAULT_SUBSET."""

    selectors: tuple[SubsetSelector, ...]
    fallback: str = "NO_FALLBACK"
    default: Criteria = ()
    panic_mode_any: bool = False
    list_as_any: bool = False


def compile_subsets(cluster: View) -> SubsetConfig | None:
    """The `lb_subset_config` of a `Cluster`; None where there is none or it has no selectors."""
    view = cluster.child("lb_subset_config")
    if view is None:
        return None
    selectors = view.each("subset_selectors", _selector)
    if view.enum("metadata_fallback_policy") != "METADATA_NO_FALLBACK":
        view.fail("metadata_fallback_policy", "is not supported yet", expected="METADATA_NO_FALLBACK")
    config = SubsetConfig(
        selectors=selectors,
        fallback=view.enum("fallback_policy"),
        default=criteria_of(view.struct("default_subset") or {}),
        panic_mode_any=bool(view.scalar("panic_mode_any")),
        list_as_any=bool(view.scalar("list_as_any")),
    )
    return config if selectors else None


def _selector(view: View) -> SubsetSelector:
    keys, fallback = tuple(sorted(set(view.scalars("keys")))), view.enum("fallback_policy")
    less = frozenset(view.scalars("fallback_keys_subset"))
    single = bool(view.scalar("single_host_per_subset"))
    if fallback == "KEYS_SUBSET" and not less < set(keys):
        view.fail("fallback_keys_subset", "is not a part of the keys", expected=f"some of {', '.join(keys)}")
    if single and len(keys) != 1:
        view.fail("single_host_per_subset", f"goes with one key, and there are {len(keys)}", expected="one key")
    return SubsetSelector(keys, single, "" if fallback == "NOT_DEFINED" else fallback, less)


def compile_criteria(owner: View) -> Criteria | None:
    """The `metadata_match` of a route, a weighted cluster or a TCP proxy; None where there is none."""
    if not owner.has("metadata_match"):
        return None
    return criteria_of(compile_metadata(owner, "metadata_match").get(NAMESPACE, {}))


def criteria_of(values: Mapping[str, Any]) -> Criteria:
    return tuple(sorted((name, text_of(value)) for name, value in values.items()))


def merged(outer: Criteria | None, inner: Criteria | None) -> Criteria:
    """What the inner one says goes before the outer one (Envoy: mergeMatchCriteria)."""
    return tuple(sorted({**dict(outer or ()), **dict(inner or ())}.items()))


def text_of(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
