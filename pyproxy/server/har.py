"""HTTP Archive 1.2 (w3c.github.io/web-performance/specs/HAR): watched requests, for the tools of browsers to open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit


def har(entries: Iterable[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """One archive. Bodies are in it where they were asked for and are text, and else only their sizes."""
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": "pyproxy", "version": version},
            "entries": [_entry(one) for one in entries],
        }
    }


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    url = f"{entry['scheme'] or 'http'}://{entry['host']}{entry['path']}"
    waiting = entry["upstream_milliseconds"]
    total = entry["milliseconds"]
    wait = total if waiting is None else min(waiting, total)
    told = ("route", "cluster", "flags", "details", "attempts", "peer", "request_id", "trace_id", "downstream")
    return {
        "startedDateTime": datetime.fromtimestamp(entry["time"], UTC).isoformat(timespec="milliseconds"),
        "time": total,
        "request": {
            "method": entry["method"],
            "url": url,
            "httpVersion": entry["protocol"],
            "cookies": [],
            "headers": _pairs(entry["request_headers"]),
            "queryString": _pairs(parse_qsl(urlsplit(url).query, keep_blank_values=True)),
            "headersSize": -1,
            "bodySize": entry["bytes_received"],
            **_post_data(entry),
        },
        "response": {
            "status": entry["status"],
            "statusText": "",
            "httpVersion": entry["protocol"],
            "cookies": [],
            "headers": _pairs(entry["response_headers"]),
            "content": {
                "size": entry["bytes_sent"],
                "mimeType": _media_type(entry, "response"),
                **_text(entry, "response"),
            },
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": entry["bytes_sent"],
        },
        "cache": {},
        "timings": {"send": 0, "wait": wait, "receive": round(total - wait, 3)},
        "serverIPAddress": entry["upstream"].rpartition(":")[0].strip("[]"),
        **{f"_{name}": entry[name] for name in told if entry[name]},
    }


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def _post_data(entry: Mapping[str, Any]) -> dict[str, Any]:
    text = _text(entry, "request")
    return {"postData": {"mimeType": _media_type(entry, "request"), **text}} if text else {}


def _text(entry: Mapping[str, Any], whose: str) -> dict[str, str]:
    body = entry.get(f"{whose}_body", {})
    if "text" not in body:
        return {}
    return {"text": body["text"], **({"comment": "only the beginning"} if body["truncated"] else {})}


def _media_type(entry: Mapping[str, Any], whose: str) -> str:
    return next((value for name, value in entry[f"{whose}_headers"] if name == "content-type"), "")
