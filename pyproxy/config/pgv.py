"""Enforces the `validate.rules` that the xDS API carries, over a message and all that is inside it, Any included.

What has to be tested is worked out once per message type; a type with no rules in it or below costs one look-up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from pyproxy.config.any_message import unpack_at
from pyproxy.config.descriptors import UnknownType, class_of_url
from pyproxy.config.invalid import Fault, InvalidConfig, Path
from pyproxy.config.pgv_rules import Test, any_duration, compile_rules, duration_seconds, option, rules_of

Check = Callable[[Any, Path, "Run"], None]
_ANY, _DURATION = "google.protobuf.Any", "google.protobuf.Duration"
_NOT_NEEDED = frozenset(("envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig.trust_domains",))
"""Rules that are older than what may stand in place of the field, and that Envoy does not enforce."""
_OPAQUE = ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue")


@dataclass(slots=True)
class Plan:
    """What is tested in messages of one type."""

    checks: dict[int, Check] = field(default_factory=dict)
    """By field number, for fields that are set."""
    needed: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    """Fields that must be set, as (name, what is wrong where one is not, what is expected), by number."""
    oneofs: list[tuple[str, str]] = field(default_factory=list)
    """Oneofs of which one member must be set, as (name, what is expected)."""


@dataclass(slots=True)
class Run:
    """One walk over one message."""

    allow_unknown: bool = False
    faults: list[Fault] = field(default_factory=list)


def validate(message: Message, *, allow_unknown: bool = False) -> list[Fault]:
    """Every violation in the message and below it. `allow_unknown` is about the fields of a TypedStruct."""
    run = Run(allow_unknown)
    _check_message(message, (), run)
    return run.faults


def _check_message(message: Any, path: Path, run: Run) -> None:
    plan = plan_of(message.DESCRIPTOR)
    if plan is None:
        return
    present = message.ListFields()
    checks = plan.checks
    for descriptor, value in present:
        check = checks.get(descriptor.number)
        if check is not None:
            check(value, (*path, descriptor.name), run)
    if plan.needed:
        numbers = {descriptor.number for descriptor, _ in present}
        for number, (name, reason, expected) in plan.needed.items():
            if number not in numbers:
                run.faults.append(Fault((*path, name), reason, expected))
    for name, expected in plan.oneofs:
        if message.WhichOneof(name) is None:
            run.faults.append(Fault(path, f"has no {name.replace('_', ' ')}", expected))


def _check_any(packed: Any, path: Path, run: Run) -> None:
    """An unknown type is a fault of whoever needs the message; filters that are optional need not be known."""
    try:
        class_of_url(packed.type_url)
        message = unpack_at(packed, path, allow_unknown=run.allow_unknown)
    except UnknownType:
        return
    except InvalidConfig as error:
        if packed.type_url.endswith(".TypedStruct"):
            run.faults.extend(fault for fault in error.faults if fault.path != path)
        return
    _check_message(message, path, run)


@functools.cache
def plan_of(descriptor: Descriptor) -> Plan | None:
    """How messages of a type are tested, None where there is nothing to test in them or below."""
    if not any(_has_rules(one) for one in _reachable(descriptor)):
        return None
    plan = Plan()
    for one in descriptor.fields:
        rules = rules_of(one)
        check = _field_check(one, rules)
        if check is not None:
            plan.checks[one.number] = check
        expected = _needed(one, rules) if rules is not None and one.full_name not in _NOT_NEEDED else None
        if expected is not None:
            plan.needed[one.number] = (one.name, "is empty" if one.is_repeated else "is missing", expected)
    for group in descriptor.oneofs:
        if option(group, "Oneof", "validate.required"):
            members = ", ".join(member.name for member in group.fields)
            plan.oneofs.append((group.name, f"one of {members}"))
    return plan


def _reachable(descriptor: Descriptor) -> Iterator[Descriptor]:
    seen = {descriptor}
    waiting = [descriptor]
    while waiting:
        here = waiting.pop()
        yield here
        for one in here.fields:
            kind = one.message_type
            if kind is not None and kind not in seen and kind.full_name not in _OPAQUE:
                seen.add(kind)
                waiting.append(kind)


@functools.cache
def _has_rules(descriptor: Descriptor) -> bool:
    return (
        descriptor.full_name in (_ANY, _DURATION)
        or any(option(group, "Oneof", "validate.required") for group in descriptor.oneofs)
        or any(rules_of(one) is not None or _disallowed(one) for one in descriptor.fields)
    )


def _disallowed(one: FieldDescriptor) -> bool:
    """Whether Envoy refuses the field unless a runtime switch allows it once more."""
    return bool(option(one, "Field", "envoy.annotations.disallowed_by_default"))


def _needed(one: FieldDescriptor, rules: Any) -> str | None:
    """What is expected of a field where it is left out, None where leaving it out is right.

    A scalar that is left out has its default value, which is tested; a oneof member that is left out is not.
    """
    kind = rules.WhichOneof("type")
    if one.containing_oneof is not None:
        return None
    if rules.HasField("message") and rules.message.required:
        return ""
    if kind in ("any", "duration") and getattr(rules, kind).required:
        return ""
    if kind == "repeated":
        return _at_least(rules.repeated.min_items, "element", "elements")
    if kind == "map":
        return _at_least(rules.map.min_pairs, "entry", "entries")
    if one.has_presence or kind is None or getattr(getattr(rules, kind), "ignore_empty", False):
        return None
    return next((expected for test in compile_rules(rules, one) if (expected := test(one.default_value))), None)


def _at_least(least: int, one: str, many: str) -> str | None:
    return f"at least {least} {one if least == 1 else many}" if least else None


def _field_check(one: FieldDescriptor, rules: Any) -> Check | None:
    if _disallowed(one):
        return _refuse
    if rules is not None and rules.message.skip:
        return None
    if one.message_type is not None and one.message_type.GetOptions().map_entry:
        return _map_check(one, rules)
    if one.is_repeated:
        return _repeated_check(one, rules)
    return _value_check(one, rules)


def _refuse(value: Any, path: Path, run: Run) -> None:
    run.faults.append(Fault(path, "is a field that Envoy no longer takes", "its successor"))


def _value_check(one: FieldDescriptor, rules: Any) -> Check | None:
    """The check of one value: the field's, an element's or a map's."""
    known = compile_rules(rules, one) if rules is not None else []
    kind = one.message_type
    if kind is None:
        return _test_all(known, _shown(one)) if known else None
    if kind.full_name == _ANY:
        return _check_any
    if kind.full_name == _DURATION:
        return _test_all([any_duration, *known], duration_seconds)
    if known:
        return _inside_wrapper(_test_all(known, _shown(kind.fields_by_name["value"])))
    return _check_message if _may_test(kind) else None


def _may_test(kind: Descriptor) -> bool:
    """Whether there can be anything to test in messages of this type; unlike `plan_of` it is safe in a cycle."""
    return kind.full_name not in _OPAQUE and any(_has_rules(one) for one in _reachable(kind))


def _shown(one: FieldDescriptor) -> Callable[[Any], str]:
    if one.enum_type is not None:
        names = {value.number: value.name for value in one.enum_type.values}
        return lambda value: names.get(value, str(value))
    return lambda value: repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."


def _test_all(known: list[Test], shown: Callable[[Any], str]) -> Check:
    def check(value: Any, path: Path, run: Run) -> None:
        for test in known:
            expected = test(value)
            if expected is not None:
                run.faults.append(Fault(path, f"is {shown(value)}", expected))
                return

    return check


def _inside_wrapper(check: Check) -> Check:
    """Rules of a number or a text on a wrapper are about the value in it."""
    return lambda value, path, run: check(value.value, path, run)


def _repeated_check(one: FieldDescriptor, rules: Any) -> Check | None:
    limits = rules.repeated if rules is not None and rules.HasField("repeated") else None
    of_item = _value_check(one, limits.items if limits is not None and limits.HasField("items") else None)
    most = limits.max_items if limits is not None and limits.HasField("max_items") else None
    least = limits.min_items if limits is not None else 0
    unique = limits is not None and limits.unique
    if of_item is None and most is None and least <= 1 and not unique:
        return None

    def check(items: Any, path: Path, run: Run) -> None:
        if most is not None and len(items) > most:
            run.faults.append(Fault(path, f"has {len(items)} elements", f"at most {most}"))
        elif len(items) < least:
            run.faults.append(Fault(path, f"has {len(items)} elements", f"at least {least}"))
        if unique and len(set(items)) != len(items):
            run.faults.append(Fault(path, "has an element twice", "each element once"))
        if of_item is not None:
            for index, item in enumerate(items):
                of_item(item, (*path, index), run)

    return check


def _map_check(one: FieldDescriptor, rules: Any) -> Check | None:
    assert one.message_type is not None
    limits = rules.map if rules is not None and rules.HasField("map") else None
    entry = one.message_type.fields_by_name
    of_key = _value_check(entry["key"], limits.keys if limits is not None and limits.HasField("keys") else None)
    of_value = _value_check(entry["value"], limits.values if limits is not None and limits.HasField("values") else None)
    if of_key is None and of_value is None:
        return None

    def check(entries: Any, path: Path, run: Run) -> None:
        for key in sorted(entries):
            if of_key is not None:
                of_key(key, (*path, str(key)), run)
            if of_value is not None:
                of_value(entries[key], (*path, str(key)), run)

    return check
