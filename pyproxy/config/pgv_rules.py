"""`validate.rules` of one field -> tests of a value (the rules of protoc-gen-validate, which Envoy enforces).

A test gives None for a good value, else what would be right in words. Rules are read once per field; a rule that is
not known is an error when it is read, so a new descriptor set cannot bring rules that nobody enforces.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from pyproxy.config.descriptors import message_class, pool
from pyproxy.config.scalars import one_of

Test = Callable[[Any], str | None]

_NANOS = 1_000_000_000
MAX_DURATION = ((1 << 63) - 1 - 999_999_999) // _NANOS
"""Seconds. Envoy refuses longer durations anywhere: they would not fit 64 bits of nanoseconds."""

_HEADER_NAME = re.compile(r":?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_HEADER_TEXT = re.compile(r"[^\x00\x0a\x0d]*")
_NAME_REGEX = 1

_LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "gt": (operator.gt, "greater than"),
    "gte": (operator.ge, "at least"),
    "lt": (operator.lt, "less than"),
    "lte": (operator.le, "at most"),
}


@functools.cache
def _options_class(kind: str) -> Any:
    return message_class(f"google.protobuf.{kind}Options")


@functools.cache
def _extension(name: str) -> Any:
    return pool().FindExtensionByName(name)


def option(descriptor: Any, kind: str, name: str) -> Any:
    """An extension of a descriptor's options, None where it is not set."""
    options = descriptor.GetOptions()
    if not options.ByteSize():
        return None
    known = _options_class(kind).FromString(options.SerializeToString())
    extension = _extension(name)
    return known.Extensions[extension] if known.HasExtension(extension) else None


def rules_of(field: FieldDescriptor) -> Any:
    """The `validate.FieldRules` of a field, None where it has none."""
    return option(field, "Field", "validate.rules")


def compile_rules(rules: Any, field: FieldDescriptor) -> list[Test]:
    """The tests of one value: the field's, or one element's of a repeated field."""
    kind = rules.WhichOneof("type")
    if kind is None:
        return []
    body = getattr(rules, kind)
    if kind == "string":
        return _string(body)
    if kind == "bytes":
        return _bytes(body)
    if kind == "enum":
        return _enum(body, field.enum_type)
    if kind == "duration":
        return _duration(body)
    if kind == "any":
        return _known_only(body, {"required"}, [])
    if kind == "bool":
        return [_equal(body.const)]
    return _number(body)


def duration_seconds(duration: Any) -> str:
    """A `google.protobuf.Duration` as it is written."""
    whole = abs(duration.seconds * _NANOS + duration.nanos)
    sign = "-" if duration.seconds < 0 or duration.nanos < 0 else ""
    fraction = f"{whole % _NANOS:09}".rstrip("0")
    return f"{sign}{whole // _NANOS}{'.' + fraction if fraction else ''}s"


def nanoseconds(duration: Any) -> int:
    return int(duration.seconds * _NANOS + duration.nanos)


def any_duration(duration: Any) -> str | None:
    """What Envoy asks of every duration, with rules or without."""
    if duration.seconds < 0 or duration.nanos < 0:
        return "a duration that is not negative"
    if duration.seconds > MAX_DURATION:
        return f"a duration of at most {MAX_DURATION}s"
    return None


def _known_only(body: Any, handled: Iterable[str], made: list[Test]) -> list[Test]:
    unknown = {field.name for field, _ in body.ListFields()} - set(handled)
    if unknown:
        raise NotImplementedError(f"validate rules {sorted(unknown)} of {body.DESCRIPTOR.full_name}")
    return made


def _number(body: Any) -> list[Test]:
    made = []
    for name, value in ((field.name, value) for field, value in body.ListFields()):
        if name in _LIMITS:
            made.append(_limit(*_LIMITS[name], value, _plain(value)))
        elif name == "const":
            made.append(_equal(value))
        elif name in ("in", "not_in"):
            made.append(_membership(tuple(value), wanted=name == "in"))
    return _known_only(body, {*_LIMITS, "const", "in", "not_in", "ignore_empty"}, made)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _limit(holds: Callable[[Any, Any], bool], words: str, limit: Any, shown: str) -> Test:
    expected = f"a value {words} {shown}"
    return lambda value: None if holds(value, limit) else expected


def _equal(wanted: Any) -> Test:
    expected = str(wanted).lower() if isinstance(wanted, bool) else repr(wanted)
    return lambda value: None if value == wanted else expected


def _membership(members: tuple[Any, ...], *, wanted: bool) -> Test:
    known = frozenset(members)
    listing = one_of(tuple(str(member) for member in members))
    expected = listing if wanted else f"none of {listing.removeprefix('one of ')}"
    return lambda value: None if (value in known) is wanted else expected


def _duration(body: Any) -> list[Test]:
    made: list[Test] = []
    for name, (holds, words) in _LIMITS.items():
        if body.HasField(name):
            limit = getattr(body, name)
            test = _limit(holds, words, nanoseconds(limit), duration_seconds(limit))
            made.append(_of_nanoseconds(test))
    return _known_only(body, {*_LIMITS, "required"}, made)


def _of_nanoseconds(test: Test) -> Test:
    return lambda duration: test(nanoseconds(duration))


def _enum(body: Any, descriptor: EnumDescriptor | None) -> list[Test]:
    assert descriptor is not None
    names = {value.number: value.name for value in descriptor.values}
    made: list[Test] = []
    if body.defined_only:
        defined = one_of(tuple(names.values()))
        made.append(lambda value: None if value in names else defined)
    if body.not_in:
        refused = frozenset(body.not_in)
        rest = one_of(tuple(name for number, name in names.items() if number not in refused))
        made.append(lambda value: rest if value in refused else None)
    return _known_only(body, {"defined_only", "not_in"}, made)


def _length(measure: Callable[[Any], int], body: Any, low: str, high: str, unit: str) -> list[Test]:
    made: list[Test] = []
    if body.HasField(low):
        least = getattr(body, low)
        expected_more = "text that is not empty" if least == 1 else f"at least {least} {unit}"
        made.append(lambda value: None if measure(value) >= least else expected_more)
    if body.HasField(high):
        most = getattr(body, high)
        expected_less = f"at most {most} {unit}"
        made.append(lambda value: None if measure(value) <= most else expected_less)
    return made


def _byte_length(value: str) -> int:
    return len(value.encode())


def _string(body: Any) -> list[Test]:
    made = _length(len, body, "min_len", "max_len", "characters")
    made += _length(_byte_length, body, "min_bytes", "max_bytes", "bytes")
    if body.HasField("pattern"):
        made.append(_pattern(body.pattern))
    if body.HasField("prefix"):
        made.append(lambda value: None if value.startswith(body.prefix) else f"text that starts with {body.prefix!r}")
    if body.HasField("suffix"):
        made.append(lambda value: None if value.endswith(body.suffix) else f"text that ends with {body.suffix!r}")
    for name in ("in", "not_in"):
        if members := tuple(getattr(body, name)):
            made.append(_membership(members, wanted=name == "in"))
    if body.HasField("well_known_regex"):
        made.append(_header_text(body.well_known_regex, strict=not body.HasField("strict") or body.strict))
    handled = "min_len max_len min_bytes max_bytes pattern prefix suffix in not_in well_known_regex strict ignore_empty"
    return _known_only(body, handled.split(), made)


def _pattern(pattern: str) -> Test:
    # These patterns are anchored where their authors meant it; RE2's search is a partial match too.
    found = re.compile(pattern).search
    expected = f"text that matches {pattern}"
    return lambda value: None if found(value) else expected


def _header_text(which: int, *, strict: bool) -> Test:
    if not strict:
        regex, expected = _HEADER_TEXT, "text without NUL, CR and LF"
    elif which == _NAME_REGEX:
        regex, expected = _HEADER_NAME, "the name of a header (RFC 9110 5.6.2)"
    else:
        regex, expected = _HEADER_VALUE, "the value of a header, without control characters"
    return lambda value: None if regex.fullmatch(value) else expected


def _bytes(body: Any) -> list[Test]:
    return _known_only(body, {"min_len", "max_len"}, _length(len, body, "min_len", "max_len", "bytes"))
