"""`/unsupported`: what the configuration asks for and this proxy does not do. Ours; Envoy has no such page."""

from __future__ import annotations

from pyproxy.config.invalid import Unhonoured, render_path
from pyproxy.server.admin.endpoint import Endpoint, Parameter, Question, Reply, as_json


async def show_unsupported(question: Question) -> Reply:
    """Fields that were set, are known, and are not honoured; `severe` where that changes traffic or security."""
    found = question.proxy.blueprint.report.unhonoured
    if question.wants_json:
        return as_json({"unsupported": [_as_object(field) for field in found]})
    if not found:
        return Reply("every field of the configuration is honoured\n")
    return Reply("".join(f"{_word(field)} {render_path(field.path)} ({field.field})\n" for field in found))


def _as_object(field: Unhonoured) -> dict[str, str]:
    return {"path": render_path(field.path), "field": field.field, "effect": _word(field)}


def _word(field: Unhonoured) -> str:
    return "severe" if field.severe else "harmless"


ENDPOINTS = (
    Endpoint(
        "/unsupported",
        "fields of the configuration that are not honoured",
        show_unsupported,
        (Parameter("format", "File format to use", ("text", "json")),),
    ),
)
