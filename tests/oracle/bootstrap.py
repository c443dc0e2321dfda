"""Puts the configuration of many cases into one bootstrap, and tells on which listener each case is.

Cases that ask for the same connection manager, route-table and listener fields share a listener.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.oracle.case import LOG, REFUSED, Case, Json, address, cluster, route
from tests.oracle.log_format import EVERY_FIELD

TYPE = "type.googleapis.com/envoy.extensions"
# Envoy waits this long after an error before it closes; the default of one second would be most of the run time.
DELAYED_CLOSE = "0.1s"


@dataclass(frozen=True, slots=True)
class Plan:
    """The bootstrap with placeholders for ports and paths, and the listener of each case."""

    template: Json
    listeners: Sequence[str]
    listener_of: Mapping[str, str]

    def render(self, placeholders: Mapping[str, int | str]) -> Json:
        made = _substitute(self.template, placeholders)
        assert isinstance(made, dict)
        return made


def plan(cases: Sequence[Case]) -> Plan:
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(_group_key(case), []).append(case)
    listeners = []
    listener_of = {}
    for number, group in enumerate(groups.values()):
        name = f"listener{number}"
        listeners.append(_listener(name, group))
        listener_of.update({case.id: name for case in group})
    template: Json = {
        "admin": {"address": address("$PORT_ADMIN")},
        "static_resources": {"listeners": listeners, "clusters": _clusters(cases)},
    }
    return Plan(template, [one["name"] for one in listeners], listener_of)


def file_log(name: str, **fields: Any) -> Json:
    """A file access log below the log directory; `fields` are those of the sink."""
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {"@type": f"{TYPE}.access_loggers.file.v3.FileAccessLog", "path": f"{LOG}/{name}", **fields},
    }


def router(**fields: Any) -> Json:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router", **fields},
    }


def _group_key(case: Case) -> str:
    alone = case.id if case.vhosts is not None else None
    return json.dumps([case.hcm, case.table, case.listener, case.catch_all, alone], sort_keys=True)


def _listener(name: str, group: Sequence[Case]) -> Json:
    case = group[0]
    hosts = [vhost for one in group for vhost in _vhosts(one)]
    if case.catch_all:
        hosts.append({"name": "catch-all", "domains": ["*"], "routes": [route(name="catch-all")]})
    hcm: Json = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "delayed_close_timeout": DELAYED_CLOSE,
        "http_filters": [router()],
        **case.hcm,
        "access_log": [
            file_log("access.log", log_format={"json_format": EVERY_FIELD}),
            *case.hcm.get("access_log", []),
        ],
        "route_config": {"name": name, **case.table, "virtual_hosts": hosts},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm}]}
    return {"name": name, "address": address(f"$PORT_{name}"), **case.listener, "filter_chains": [chain]}


def _vhosts(case: Case) -> Sequence[Json]:
    if case.vhosts is not None:
        return case.vhosts
    if case.routes is None and not case.vhost:
        return []
    routes = case.routes if case.routes is not None else [route(name="all")]
    return [{"name": case.id, "domains": [case.domain], "routes": list(routes), **case.vhost}]


def _clusters(cases: Sequence[Case]) -> list[Json]:
    own = {one["name"]: one for case in cases for one in case.clusters}
    shared = [cluster("up"), cluster("other", "$PORT_OTHER"), cluster("refused", REFUSED), cluster("empty", None)]
    return [*shared, *own.values()]


def _substitute(value: Any, placeholders: Mapping[str, int | str]) -> Any:
    if isinstance(value, dict):
        return {key: _substitute(one, placeholders) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_substitute(one, placeholders) for one in value]
    if isinstance(value, str) and "$" in value:
        if value in placeholders:
            return placeholders[value]
        for name, replacement in placeholders.items():
            value = value.replace(name, str(replacement))
    return value
