"""Metadata of listeners, clusters, hosts and routes as plain values (envoy.config.core.v3.Metadata)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pyproxy.config import any_message
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
    return MappingProxyType({key: any_message.plain_struct(struct.message) for key, struct in structs.items()})
