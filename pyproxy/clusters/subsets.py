"""Subset load balancing: a request that names some metadata goes only to hosts that have it (Envoy).

The groups are made once for each membership; the balance of a group, with priorities and panic of its own, when it is
first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.load_balancer import Choose
from pyproxy.config.subset import NAMESPACE, Criteria, SubsetConfig, SubsetSelector, text_of
from pyproxy.http.message import Request
from pyproxy.telemetry.cluster_stats import ClusterStats

MakeChoose = Callable[[tuple[Host, ...]], Choose]


class Subsets:
    """`choose` is that of the cluster. `make` balances any hosts, `everyone` all of them."""

    def __init__(
        self, config: SubsetConfig, hosts: tuple[Host, ...], make: MakeChoose, everyone: Choose, stats: ClusterStats
    ) -> None:
        self._config = config
        self._hosts = hosts
        self._make = make
        self._everyone = everyone
        self._stats = stats
        self._selectors = {selector.keys: selector for selector in config.selectors}
        self._groups = _groups(config, hosts)
        self._made: dict[Criteria, Choose] = {}
        stats.lb_subsets_created.value += max(0, len(self._groups) - stats.lb_subsets_active.value)
        stats.lb_subsets_active.value = len(self._groups)

    def choose(self, request: Request) -> Host | None:
        return self._choose(request, request.info.subset)

    def _choose(self, request: Request, wanted: Criteria) -> Host | None:
        choose = self._of_group(wanted) if wanted else None
        if choose is not None:
            self._stats.lb_subsets_selected.value += 1
            host = choose(request)
            if host is None and self._config.panic_mode_any:
                self._stats.lb_subsets_fallback_panic.value += 1
                return self._everyone(request)
            return host
        selector = self._selectors.get(tuple(name for name, _ in wanted)) if wanted else None
        if selector is not None and selector.fallback == "KEYS_SUBSET":
            return self._choose(request, tuple(pair for pair in wanted if pair[0] in selector.fallback_keys))
        return self._fall_back(request, selector)

    def _fall_back(self, request: Request, selector: SubsetSelector | None) -> Host | None:
        config, stats = self._config, self._stats
        policy = (selector.fallback if selector is not None else "") or config.fallback
        host: Host | None = None
        if policy == "ANY_ENDPOINT":
            stats.lb_subsets_fallback.value += 1
            host = self._everyone(request)
        elif policy == "DEFAULT_SUBSET":
            stats.lb_subsets_fallback.value += 1
            choose = self._of_default()
            host = None if choose is None else choose(request)
        if host is None and config.panic_mode_any:
            stats.lb_subsets_fallback_panic.value += 1
            host = self._everyone(request)
        return host

    def _of_group(self, wanted: Criteria) -> Choose | None:
        """None where no host has all that."""
        choose = self._made.get(wanted)
        if choose is None:
            hosts = self._groups.get(wanted)
            if hosts is None:
                return None
            choose = self._made[wanted] = self._make(hosts)
        return choose

    def _of_default(self) -> Choose | None:
        wanted = self._config.default
        if not wanted:
            return self._everyone
        choose = self._made.get(wanted)
        if choose is None:
            keys = SubsetSelector(tuple(name for name, _ in wanted))
            hosts = _groups(SubsetConfig((keys,), list_as_any=self._config.list_as_any), self._hosts).get(wanted)
            if hosts is None:
                return None
            choose = self._made[wanted] = self._make(hosts)
        return choose


def _groups(config: SubsetConfig, hosts: tuple[Host, ...]) -> dict[Criteria, tuple[Host, ...]]:
    """The hosts of each combination of values that there is, for each selector."""
    found: dict[Criteria, list[Host]] = {}
    for selector in config.selectors:
        for host in hosts:
            for criteria in _combinations(selector.keys, host.metadata.get(NAMESPACE, {}), config.list_as_any):
                group = found.setdefault(criteria, [])
                if not (selector.single_host and group):
                    group.append(host)
    return {criteria: tuple(group) for criteria, group in found.items()}


def _combinations(keys: tuple[str, ...], labels: dict[str, Any], list_as_any: bool) -> list[Criteria]:
    """With `list_as_any` a list stands for each of its values."""
    combinations: list[Criteria] = [()]
    for key in keys:
        if key not in labels:
            return []
        value = labels[key]
        values = value if list_as_any and isinstance(value, list) else [value]
        combinations = [(*before, (key, text_of(one))) for before in combinations for one in values]
    return combinations
