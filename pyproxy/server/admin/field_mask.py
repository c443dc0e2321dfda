"""`google.protobuf.FieldMask` on what `/config_dump` shows: keep only some paths, and say when a path cannot be.

It works on JSON that carries `@type` marks, so a path goes through an Any into the message inside, as in Envoy.
"""

from __future__ import annotations

from typing import Any

from pyproxy.config import descriptors

_ANY = "google.protobuf.Any"
_OPAQUE = ("google.protobuf.Struct", "google.protobuf.Value")


class UnusableMask(Exception):
    """A path that names no field, or goes through a list."""


def keep(value: dict[str, Any], mask: str) -> dict[str, Any]:
    """The parts of an object that a comma-separated list of paths names. Raises UnusableMask."""
    kept: dict[str, Any] = {}
    for path in mask.split(","):
        steps = tuple(step for step in path.strip().split(".") if step)
        if not steps:
            raise UnusableMask(path)
        _copy(value, kept, steps, _type_of(value))
    return {"@type": value["@type"], **kept} if "@type" in value else kept


def _copy(source: Any, target: dict[str, Any], steps: tuple[str, ...], descriptor: Any) -> None:
    """Copy one path. The descriptor says whether it can be, also where nothing is set."""
    name, rest = steps[0], steps[1:]
    field = descriptor.fields_by_name.get(name) if descriptor is not None else None
    if field is None or (rest and (field.is_repeated or field.message_type is None)):
        raise UnusableMask(".".join(steps))
    found = source.get(name) if isinstance(source, dict) else None
    if not rest:
        if found is not None:
            target[name] = found
        return
    below = field.message_type
    if below.full_name == _ANY:
        below = _type_of(found or {})
    if below is not None and below.full_name in _OPAQUE:
        raise UnusableMask(".".join(steps))
    inner: dict[str, Any] = target.setdefault(name, {})
    if isinstance(found, dict) and "@type" in found:
        inner.setdefault("@type", found["@type"])
    if found is None and below is None:
        return
    _copy(found, inner, rest, below)
    if found is None and not inner:
        del target[name]


def _type_of(value: dict[str, Any]) -> Any:
    """The descriptor that an object's `@type` names, None where it names none."""
    if "@type" not in value:
        return None
    return descriptors.class_of_url(value["@type"]).DESCRIPTOR
