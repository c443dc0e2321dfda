"""Operators that read structured values: METADATA and its kin, FILTER_STATE. In a text they are JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

from pyproxy.config.format import Operator
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.formatter_expression import Expression, Kind, Scope, Unset, call, nothing

_SOURCES: Final[dict[str, str]] = {
    "DYNAMIC": "info.dynamic_metadata",
    "CLUSTER": "info.upstream.cluster_metadata",
    "UPSTREAM_HOST": "info.upstream.host_metadata",
    "ROUTE": "info.route_metadata",
    "VIRTUAL_HOST": "info.virtual_host_metadata",
    "LISTENER": "info.connection.listener_metadata",
    "LISTENER_FILTER_CHAIN": "info.connection.filter_chain_metadata",
}


def metadata(operator: Operator, scope: Scope) -> Expression:
    """`METADATA(SOURCE:namespace:key...)`."""
    source, _, rest = (operator.argument or "").partition(":")
    return _metadata_of(source, rest, scope).cut(operator.length)


def dynamic_metadata(operator: Operator, scope: Scope) -> Expression:
    return _metadata_of("DYNAMIC", operator.argument or "", scope).cut(operator.length)


def cluster_metadata(operator: Operator, scope: Scope) -> Expression:
    return _metadata_of("CLUSTER", operator.argument or "", scope).cut(operator.length)


def upstream_metadata(operator: Operator, scope: Scope) -> Expression:
    return _metadata_of("UPSTREAM_HOST", operator.argument or "", scope).cut(operator.length)


def _metadata_of(source: str, argument: str, scope: Scope) -> Expression:
    """The value under a namespace and keys below it. A null, or a way that leads nowhere, is no value."""
    path = _SOURCES.get(source)
    if path is None:
        return nothing()
    read: Callable[[Request], Any] = _of_virtual_host if source == "VIRTUAL_HOST" else attrgetter(path)
    keys = argument.split(":")

    def value(request: Request, response: Response | None) -> Any:
        found = read(request)
        for key in keys:
            if not isinstance(found, Mapping):
                return None
            found = found.get(key)
        return found

    return call(scope, value, Kind.VALUE)


def _of_virtual_host(request: Request) -> Any:
    # The route knows it, so that a request need not carry it.
    found = request.info.virtual_host_metadata
    return found if found is not None or request.route is None else request.route.virtual_host_metadata


def filter_state(operator: Operator, scope: Scope) -> Expression:
    """`FILTER_STATE(key:PLAIN|TYPED|FIELD:name)`: the object as text, or (also without a word) what its `typed` gives.

    No object that there is has fields.
    """
    key, kind = [*(operator.argument or "").split(":"), ""][:2]
    if kind == "FIELD":
        return nothing()

    def state(request: Request, response: Response | None) -> Any:
        found = request.info.filter_state
        value = None if found is None else found.get(key)
        if value is None:
            found = request.info.connection.filter_state
            value = None if found is None else found.get(key)
        if value is None:
            return None
        if kind != "PLAIN" and hasattr(value, "typed"):
            return value.typed()
        return str(value)

    shape = Kind.TEXT if kind == "PLAIN" else Kind.VALUE
    return call(scope, state, shape, Unset.NONE).cut(operator.length)


def to_text(value: Any) -> str:
    """A value inside a text: a string as it is, the rest as JSON."""
    return value if isinstance(value, str) else to_json(value)


def to_json(value: Any) -> str:
    """Compact, keys in order, whole numbers without a fraction, as protobuf's printer writes a Struct."""
    return json.dumps(_plain(value), separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e17:
        return int(value)
    return value
