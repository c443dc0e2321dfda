"""Spans for Zipkin's API version 2 (openzipkin.github.io/zipkin-api, POST /spans), in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pyproxy.network.local_address import first_address
from pyproxy.server.exporting.otlp import clean
from pyproxy.telemetry.span_tags import SERVER, SpanRecord


def zipkin_body(spans: Iterable[SpanRecord], service: str) -> bytes:
    """A list of spans."""
    own = {"serviceName": service, "ipv4": first_address(), "port": 0}
    return json.dumps([_span(one, own) for one in spans], separators=(",", ":")).encode()


def _span(record: SpanRecord, own: dict[str, Any]) -> dict[str, Any]:
    server = record["kind"] == SERVER
    start, end = record["start"] // 1000, record["end"] // 1000
    made: dict[str, Any] = {
        "traceId": record["trace"],
        "id": record["span"],
        "name": clean(record["name"]),
        "kind": "SERVER" if server else "CLIENT",
        "timestamp": start,
        "duration": max(1, end - start),
        "localEndpoint": own,
        "tags": {name: clean(str(value)) for name, value in record["tags"].items()},
        "annotations": [{"timestamp": moment // 1000, "value": name} for moment, name, _ in record["events"]],
    }
    made["annotations"].append({"timestamp": end, "value": "ss" if server else "cr"})
    if record["parent"]:
        made["parentId"] = record["parent"]
    if server and record["shared"]:
        made["shared"] = True
    return made
