"""`/runtime`: the layers of runtime values, what each says about a key and which value wins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pyproxy.config import any_message
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.server.admin.endpoint import Endpoint, Question, Reply, as_json
from pyproxy.server.admin.redact import whole_numbers


async def show_runtime(question: Question) -> Reply:
    """The layers of the bootstrap; what came by RTDS stands in its place."""
    proxy = question.proxy
    names, layers = _layers(proxy.blueprint.message)
    for position, layer in () if proxy.discovery is None else proxy.discovery.layer_values():
        layers[position] = RuntimeValues((layer,)).as_mapping()
    keys = sorted({key for layer in layers for key in layer})
    entries = {}
    for key in keys:
        values = [_text(layer[key]) if key in layer else "" for layer in layers]
        entries[key] = {"layer_values": values, "final_value": next(v for v in reversed(values) if v)}
    return as_json({"entries": entries, "layers": names})


def _layers(message: Any) -> tuple[list[str], list[Mapping[str, Any]]]:
    """Names and flat values. Layers of other kinds than static ones hold nothing."""
    if message is None:
        return [], []
    layers = message.layered_runtime.layers
    static = [
        any_message.plain_struct(layer.static_layer) if layer.HasField("static_layer") else {} for layer in layers
    ]
    return [layer.name for layer in layers], [RuntimeValues((values,)).as_mapping() for values in static]


def _text(value: Any) -> str:
    """As Envoy writes a `google.protobuf.Value`: `3`, `0.5`, `true`, the text itself."""
    if isinstance(value, str):
        return value
    return json.dumps(whole_numbers(value))


ENDPOINTS = (Endpoint("/runtime", "print runtime values", show_runtime),)
