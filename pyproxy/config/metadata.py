"""Metadata of listeners, clusters, hosts and routes as plain values (envoy.config.core.v3.Metadata)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pyproxy.config.view import View

NOTHING: Mapping[str, Any] = MappingProxyType({})


def compile_metadata(view: View, name: str = "metadata") -> Mapping[str, Any]:
    """`filter_metadata`, by namespace. Typed metadata is left alone: nothing here reads it."""
    found = view.child(name)
    if found is None:
        return NOTHING
    structs = found.entries("filter_metadata")
    for struct in structs.values():
        struct.honour_all()
    if not structs:
        return NOTHING
    return MappingProxyType({key: _plain(struct.message) for key, struct in structs.items()})


def _plain(struct: Any) -> dict[str, Any]:
    """A `Struct` as Python values. Every host of a mesh has one, and json_format takes three times as long."""
    return {key: _plain_value(value) for key, value in struct.fields.items()}


def _plain_value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    match kind:
        case "struct_value":
            return _plain(value.struct_value)
        case "list_value":
            return [_plain_value(one) for one in value.list_value.values]
        case None | "null_value":
            return None
        case _:
            return getattr(value, kind)
