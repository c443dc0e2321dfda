"""What the tests of the compilers share: small messages from YAML, and what a compiler makes of them."""

from __future__ import annotations

import json
from typing import Any

import yaml

from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.config.extensions import CompileContext
from pyproxy.config.invalid import InvalidConfig, Report
from pyproxy.config.load import add_faults, load_bootstrap, load_message
from pyproxy.config.snapshot import compile_bootstrap
from pyproxy.config.view import View
from pyproxy.filters.builtin import EXTENSIONS

URL = "type.googleapis.com/"
MANAGER = f"{URL}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": f"{URL}envoy.extensions.filters.http.router.v3.Router"},
}

CONTEXT = CompileContext(EXTENSIONS, frozenset(("a", "b")))


def view(type_name: str, text: str) -> View:
    """A view of a message of a type, given as YAML."""
    loaded = load_message(text, "test.yaml", type_name)
    assert loaded.faults == []
    return View(loaded.message, (), Report())


def problems(seen: View) -> list[str]:
    """What a compiler that isolates faults has reported."""
    return [str(fault) for fault in seen.report.faults]


def unread(seen: View) -> list[str]:
    """The fields that a compiler did not read."""
    return [field.rpartition(".")[2] for _, field in seen.unread()]


def host(address: str = "127.0.0.1", port: int = 1, **fields: Any) -> dict[str, Any]:
    socket = {"address": address, "port_value": port}
    return {"endpoint": {"address": {"socket_address": socket}}, **fields}


def assignment(*hosts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"cluster_name": "a", "endpoints": [{"lb_endpoints": list(hosts)}], **fields}


def cluster(name: str = "a", **fields: Any) -> dict[str, Any]:
    """A static cluster with one host; a field that is None is left out."""
    whole = {"name": name, "type": "STATIC", "load_assignment": assignment(host()), **fields}
    return {key: value for key, value in whole.items() if value is not None}


def manager(routes: list[dict[str, Any]] | None = None, **fields: Any) -> dict[str, Any]:
    """A connection manager with one virtual host for everything."""
    table = {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes or []}]}
    whole = {"@type": MANAGER, "stat_prefix": "p", "route_config": table, "http_filters": [ROUTER], **fields}
    return {key: value for key, value in whole.items() if value is not None}


def listener(name: str = "l", config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A listener on any port, with one connection manager."""
    chain = {"filters": [{"name": "hcm", "typed_config": config or manager()}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    whole = {"name": name, "address": address, "filter_chains": [chain], **fields}
    return {key: value for key, value in whole.items() if value is not None}


def bootstrap(
    listeners: list[dict[str, Any]] | None = None, clusters: list[dict[str, Any]] | None = None, **fields: Any
) -> dict[str, Any]:
    resources = {"listeners": listeners or [], "clusters": [cluster()] if clusters is None else clusters}
    return {"static_resources": resources, **fields}


def compiled(config: dict[str, Any] | str) -> tuple[BootstrapConfig | None, list[str], Report]:
    """The values (None where there are faults), the faults in words, and the report."""
    text = config if isinstance(config, str) else json.dumps(config)
    report = Report()
    try:
        loaded = load_bootstrap("", text)
    except InvalidConfig as error:
        return None, [str(fault) for fault in error.faults], report
    values: BootstrapConfig | None = None
    try:
        values = compile_bootstrap(loaded.message, report, EXTENSIONS)
    except InvalidConfig as error:
        add_faults(loaded, error.faults)
    if loaded.faults:
        return None, [str(fault) for fault in loaded.faults], report
    return values, [], report


def as_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value)
    return text
