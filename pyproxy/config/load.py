"""A bootstrap file, and YAML merged over it -> a Bootstrap message, its faults, and where in the files everything is.

The kind of file is told by its suffix, as in Envoy: .yaml, .yml, .json, .pb, .pb_text; without one of these, text that
starts with a brace is JSON and other text is YAML. A file is read once, from start to end, so it may be a FIFO.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from pyproxy.config import json_tree, pgv, yaml_tree
from pyproxy.config.descriptors import message_class, pool
from pyproxy.config.fill import Filling, nearest_field
from pyproxy.config.invalid import Fault, InvalidConfig, Path, Place
from pyproxy.config.positions import Positions, Source

BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
OVERLAY_NAME = "--config-yaml"
_NO_SUCH_FIELD = re.compile(r'Message type "([\w.]+)" (?:has no field named|should not have multiple) "([^"]+)"')


@dataclass(slots=True)
class Loaded:
    """A configuration as it was read. `message` holds what could be read even where there are faults."""

    message: Message
    positions: Positions
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def load_bootstrap(path: str = "", yaml_overlay: str = "", *, allow_unknown: bool = False) -> Loaded:
    """Read a bootstrap. Raises InvalidConfig where a text cannot be read at all; other faults are in `Loaded.faults`.

    The faults of reading come first, then the violations of the rules that the API carries.
    """
    if not path and not yaml_overlay:
        raise InvalidConfig([Fault((), "there is no configuration", "--config-path FILE or --config-yaml YAML")])
    with without_garbage_collection():
        texts = []
        if path:
            texts.append(_read(path, BOOTSTRAP, allow_unknown))
        if yaml_overlay:
            texts.append(_yaml(yaml_overlay, OVERLAY_NAME, BOOTSTRAP, allow_unknown))
        loaded = _merged(texts)
        loaded.faults.extend(_not_implied(loaded.faults, pgv.validate(loaded.message, allow_unknown=allow_unknown)))
    return loaded


def load_message(text: str, file: str, type_name: str, *, allow_unknown: bool = False) -> Loaded:
    """Read one YAML text as a message of any type, without the rules."""
    return _located(_yaml(text, file, type_name, allow_unknown))


def load_file(path: str, type_name: str, *, allow_unknown: bool = False) -> Loaded:
    """Read a file of any of the kinds that a bootstrap may be of as a message of any type, without the rules.

    Raises InvalidConfig where it cannot be read at all; other faults are in `Loaded.faults`.
    """
    return _located(_read(path, type_name, allow_unknown))


def add_faults(loaded: Loaded, later: tuple[Fault, ...] | list[Fault]) -> None:
    """Add the faults of a later step, except those that follow from what could not be read."""
    loaded.faults.extend(_not_implied(loaded.faults, later))


@dataclass(slots=True)
class _Text:
    message: Message
    source: Source
    faults: list[Fault]
    warnings: list[str]


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """A configuration of a million nodes holds no cycles, but the collector would walk it again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read(path: str, type_name: str, allow_unknown: bool) -> _Text:
    try:
        data = FilePath(path).read_bytes()
    except OSError as error:
        raise InvalidConfig([Fault((), f"cannot be read: {error.strerror}", place=Place(path))]) from None
    suffix = FilePath(path).suffix.lower()
    if suffix == ".pb":
        return _binary(data, path, type_name, allow_unknown)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        reason = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        raise InvalidConfig([Fault((), reason, "text in UTF-8", place=Place(path, line, column))]) from None
    if suffix == ".pb_text":
        return _protobuf_text(text, path, type_name)
    if suffix == ".json" or (suffix not in (".yaml", ".yml") and text.lstrip()[:1] == "{"):
        return _json(text, path, type_name, allow_unknown)
    return _yaml(text, path, type_name, allow_unknown)


def _yaml(text: str, file: str, type_name: str, allow_unknown: bool) -> _Text:
    root, more = yaml_tree.compose(text, file)
    if root is None:
        raise InvalidConfig(
            [Fault((), "the text is empty", f"a mapping with the fields of {type_name}", "", Place(file))]
        )
    plainer = yaml_tree.Plainer(file)
    value = plainer.value(root)
    read = _filled(value, Source(file, lambda: root), type_name, allow_unknown)
    read.faults[:0] = plainer.faults
    if more:
        read.warnings.append(f"{file}: only the first YAML document is read, as in Envoy")
    return read


def _json(text: str, file: str, type_name: str, allow_unknown: bool) -> _Text:
    value, faults = json_tree.load(text, file)
    read = _filled(value, Source(file, lambda: json_tree.compose(text, file)), type_name, allow_unknown)
    read.faults[:0] = faults
    return read


def _filled(value: Any, source: Source, type_name: str, allow_unknown: bool) -> _Text:
    message = message_class(type_name)()
    filling = Filling(allow_unknown)
    filling.fields(message, value, ())
    warnings = [Positions([source]).render(Fault(path, "unknown, passed over")) for path in filling.skipped]
    return _Text(message, source, filling.faults, warnings)


def _binary(data: bytes, file: str, type_name: str, allow_unknown: bool) -> _Text:
    try:
        message = message_class(type_name).FromString(data)
    except DecodeError:
        raise InvalidConfig([Fault((), f"is not a serialised {type_name}", place=Place(file))]) from None
    faults = [] if allow_unknown else list(_unknown_numbers(message, ()))
    return _Text(message, Source(file), faults, [])


def _unknown_numbers(message: Any, path: Path) -> Iterator[Fault]:
    """Fields of a serialised message that its type does not have."""
    for unknown in UnknownFieldSet(message):  # type: ignore[attr-defined]
        yield Fault(path, f"unknown field number {unknown.field_number} in {message.DESCRIPTOR.full_name}")
    for one, value in message.ListFields():
        if one.message_type is None:
            continue
        here = (*path, one.name)
        if one.message_type.GetOptions().map_entry:
            if one.message_type.fields_by_name["value"].message_type is not None:
                for key in value:
                    yield from _unknown_numbers(value[key], (*here, str(key)))
        elif one.is_repeated:
            for index, item in enumerate(value):
                yield from _unknown_numbers(item, (*here, index))
        else:
            yield from _unknown_numbers(value, here)


def _protobuf_text(text: str, file: str, type_name: str) -> _Text:
    message = message_class(type_name)()
    try:
        text_format.Parse(text, message, descriptor_pool=pool())
    except text_format.ParseError as error:
        place = Place(file, error.GetLine() or 0, error.GetColumn() or 0)
        reason = re.sub(r"^\d+:\d+ : ", "", str(error)).strip()
        raise InvalidConfig([Fault((), reason, "", _nearest_in_text(reason), place)]) from None
    return _Text(message, Source(file), [], [])


def _nearest_in_text(reason: str) -> str:
    match = _NO_SUCH_FIELD.search(reason)
    if match is None:
        return ""
    descriptor = pool().FindMessageTypeByName(match[1])
    return nearest_field(descriptor, match[2], tuple(descriptor.fields_by_name))


def _merged(texts: list[_Text]) -> Loaded:
    """Protobuf's merge: lists append, maps and messages merge, scalars replace."""
    first, *rest = (_located(text) for text in texts)
    for later in rest:
        first.message.MergeFrom(later.message)
        first.faults += later.faults
        first.warnings += later.warnings
    first.positions = Positions(text.source for text in texts)
    return first


def _located(text: _Text) -> Loaded:
    """The faults with their places: the paths are those of one text, and change when texts are merged."""
    positions = Positions([text.source])
    faults = [fault if fault.place else replace(fault, place=positions.of(fault.path)) for fault in text.faults]
    return Loaded(text.message, positions, faults, text.warnings)


def _not_implied(earlier: list[Fault], later: tuple[Fault, ...] | list[Fault]) -> list[Fault]:
    """Of later faults, those that are not just what an earlier one left behind.

    A value that could not be read is missing, so whatever holds it may seem incomplete; a misspelt field leaves the
    field that was meant unset; and what two steps both see is told once.
    """
    holders = {fault.path[:length] for fault in earlier for length in range(len(fault.path) + 1)} - {()}
    unread = {fault.path for fault in earlier}
    meant = {(*fault.path[:-1], *fault.nearest.split(".")) for fault in earlier if fault.nearest and fault.path}
    told: set[tuple[Path, str]] = set()
    kept = []
    for fault in later:
        inside = any(fault.path[:length] in unread for length in range(1, len(fault.path) + 1))
        if fault.path in holders or inside or fault.path in meant or (fault.path, fault.reason) in told:
            continue
        told.add((fault.path, fault.reason))
        kept.append(fault)
    return kept
