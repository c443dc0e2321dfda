"""`/unsupported`: what the configuration asks for and this proxy does not do. Ours; Envoy has no such page."""

from __future__ import annotations

from pyproxy.config.invalid import render_path
from pyproxy.server.admin.endpoint import Endpoint, Parameter, Question, Reply, as_json
from pyproxy.server.blueprint import UnhonouredField
from pyproxy.server.proxy import Proxy


async def show_unsupported(question: Question) -> Reply:
    """Fields that were set, are known, and are not honoured; `severe` where that changes traffic or security."""
    found = [*question.proxy.blueprint.unhonoured, *_later(question.proxy)]
    if question.wants_json:
        fields = [{"effect": f.effect, "place": f.place, "path": f.path, "field": f.field} for f in found]
        return as_json({"unsupported": fields})
    if not found:
        return Reply("every field of the configuration is honoured\n")
    return Reply("".join(f"{field.place}: {field.effect}: {field.path} ({field.field})\n" for field in found))


def _later(proxy: Proxy) -> list[UnhonouredField]:
    """Of resources that came while the proxy runs: the place is the resource."""
    if proxy.discovery is None:
        return []
    return [
        UnhonouredField(f"{kind.value.rpartition('.')[2]} '{name}'", render_path(one.path), one.field, one.severe)
        for kind, name, one in proxy.discovery.unhonoured_now()
    ]


ENDPOINTS = (
    Endpoint(
        "/unsupported",
        "fields of the configuration that are not honoured",
        show_unsupported,
        (Parameter("format", "File format to use", ("text", "json")),),
    ),
)
