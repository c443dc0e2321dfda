"""What an Any holds."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from pyproxy.config.any_message import UnknownType, plain_struct, pool, unpack, unpack_at
from pyproxy.config.descriptors import message_class
from pyproxy.config.invalid import InvalidConfig

ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def packed(value: dict[str, Any]) -> Any:
    return json_format.ParseDict(value, message_class("google.protobuf.Any")(), descriptor_pool=pool())


def typed_struct(kind: str, type_url: str, value: dict[str, Any]) -> Any:
    return packed({"@type": f"type.googleapis.com/{kind}", "type_url": type_url, "value": value})


def test_the_message_inside() -> None:
    message: Any = unpack(packed({"@type": f"type.googleapis.com/{ROUTER}", "start_child_span": True}))
    assert (message.DESCRIPTOR.full_name, message.start_child_span) == (ROUTER, True)


@pytest.mark.parametrize("kind", ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"])
@pytest.mark.parametrize("type_url", [ROUTER, f"type.googleapis.com/{ROUTER}"])
def test_a_typed_struct_is_the_message_that_it_describes(kind: str, type_url: str) -> None:
    message: Any = unpack(typed_struct(kind, type_url, {"startChildSpan": True, "upstream_log": []}))
    assert (message.DESCRIPTOR.full_name, message.start_child_span) == (ROUTER, True)


def test_a_struct_that_does_not_fit_tells_every_fault_with_its_whole_path() -> None:
    struct = typed_struct("xds.type.v3.TypedStruct", ROUTER, {"start_child_spn": True, "dynamic_stats": "maybe"})
    with pytest.raises(InvalidConfig) as caught:
        unpack_at(struct, ("filters", 0, "typed_config"))
    stats, span = sorted(str(fault) for fault in caught.value.faults)
    assert stats == "filters[0].typed_config.dynamic_stats: does not take the text 'maybe'; expected true or false"
    assert span.startswith("filters[0].typed_config.start_child_spn: unknown field 'start_child_spn' in envoy.")
    assert span.endswith("; did you mean 'start_child_span'?")


def test_unknown_fields_of_a_struct_are_passed_over_where_that_is_allowed() -> None:
    struct = typed_struct("xds.type.v3.TypedStruct", ROUTER, {"foo": 1, "start_child_span": True})
    message: Any = unpack(struct, allow_unknown=True)
    assert message.start_child_span


def test_a_type_that_is_not_known() -> None:
    struct = typed_struct("xds.type.v3.TypedStruct", "type.googleapis.com/foo.Bar", {})
    with pytest.raises(UnknownType, match="unknown type"):
        unpack(struct)
    with pytest.raises(InvalidConfig, match=r"^x: unknown type"):
        unpack_at(struct, ("x",))


def test_bytes_that_are_not_of_the_type() -> None:
    broken = message_class("google.protobuf.Any")(type_url=f"type.googleapis.com/{ROUTER}", value=b"\xff")
    with pytest.raises(UnknownType, match="the bytes are not a"):
        unpack(broken)


def test_structs_become_plain_values() -> None:
    struct = json_format.ParseDict({"a": [1, "x", None, {"b": True}]}, message_class("google.protobuf.Struct")())
    assert plain_struct(struct) == {"a": [1, "x", None, {"b": True}]}
