"""Plain values into messages: names, unknown fields, oneofs, lists, maps, Any. The verdicts are Envoy 1.40's."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.descriptors import message_class, pool
from pyproxy.config.fill import Filling, slots_of

CLUSTER = "envoy.config.cluster.v3.Cluster"
NODE = "envoy.config.core.v3.Node"
ANY = "google.protobuf.Any"
RAW_BUFFER = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"


def fill(type_name: str, value: Any, *, allow_unknown: bool = False) -> tuple[Any, list[str]]:
    message = message_class(type_name)()
    filling = Filling(allow_unknown)
    filling.fields(message, value, ())
    return message, [str(fault) for fault in filling.faults]


def good(type_name: str, value: Any) -> Any:
    message, faults = fill(type_name, value)
    assert faults == []
    return message


def faults(type_name: str, value: Any) -> list[str]:
    return fill(type_name, value)[1]


def test_both_names_of_a_field_are_one_field() -> None:
    assert good(CLUSTER, {"name": "a", "connectTimeout": "2s", "lb_policy": "RANDOM"}) == good(
        CLUSTER, {"name": "a", "connect_timeout": "2s", "lbPolicy": "RANDOM"}
    )


def test_a_scalar_under_both_names_is_a_fault() -> None:
    assert faults(CLUSTER, {"altStatName": "a", "alt_stat_name": "b"}) == [
        "altStatName: is given twice, as 'altStatName' and as 'alt_stat_name'; expected one of the two"
    ]


def test_lists_and_messages_under_both_names_add_up() -> None:
    made = good(CLUSTER, {"transport_socket_matches": [{"name": "a"}], "transportSocketMatches": [{"name": "b"}]})
    assert [match.name for match in made.transport_socket_matches] == ["a", "b"]


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("conect_timeout", "connect_timeout"),
        ("connectTimeot", "connectTimeout"),
        ("connect-timeout", "connect_timeout"),
        ("lb_polcy", "lb_policy"),
        ("endpoints", "load_assignment.endpoints"),
    ],
)
def test_an_unknown_field_comes_with_the_nearest_one(key: str, nearest: str) -> None:
    assert faults(CLUSTER, {key: 1}) == [
        f"{key}: unknown field {key!r} in envoy.config.cluster.v3.Cluster; did you mean {nearest!r}?"
    ]


def test_an_unknown_field_of_a_small_message_comes_with_all_there_are() -> None:
    (fault,) = faults("envoy.config.core.v3.Pipe", {"zzz": 1})
    assert fault.endswith("; expected one of path, mode")


def test_unknown_fields_are_passed_over_where_that_is_allowed() -> None:
    made, found = fill(CLUSTER, {"name": "a", "foo": 1, "lb_policy": "FOO"}, allow_unknown=True)
    assert (made.name, found) == ("a", [])


def test_merge_keys_are_refused_as_in_envoy() -> None:
    (fault,) = faults(CLUSTER, {"<<": {"name": "a"}})
    assert "merge keys are not supported" in fault


def test_null_leaves_a_field_unset() -> None:
    assert good(CLUSTER, dict.fromkeys(["name", "lb_policy", "connect_timeout", "load_assignment"])) == good(
        CLUSTER, {}
    )


def test_an_empty_mapping_sets_a_message() -> None:
    assert good(CLUSTER, {"load_assignment": {}}).HasField("load_assignment")


def test_two_members_of_a_oneof_are_a_fault() -> None:
    (fault,) = faults(CLUSTER, {"type": "STATIC", "cluster_type": {"name": "x"}})
    assert fault == "cluster_type: is set beside 'type'; expected only one of type, cluster_type"


def test_null_does_not_choose_a_member_of_a_oneof() -> None:
    assert good(CLUSTER, {"type": None, "cluster_type": {"name": "x"}}).cluster_type.name == "x"


def test_a_list_may_be_a_single_value_or_hold_lists() -> None:
    one = good(NODE, {"client_features": "a", "extensions": {"name": "x"}})
    assert (list(one.client_features), one.extensions[0].name) == (["a"], "x")
    assert list(good(NODE, {"client_features": ["a", ["b", ["c"]], None]}).client_features) == ["a", "b", "c", ""]


def test_a_faulty_element_does_not_move_those_after_it() -> None:
    made, found = fill(NODE, {"client_features": ["a", 5, "c"]})
    assert list(made.client_features) == ["a", "", "c"]
    assert found == ["client_features[1]: does not take the number 5; expected text in quotes"]


@pytest.mark.parametrize("value", [[], "abc", "", 5, True])
def test_a_message_is_a_mapping(value: Any) -> None:
    (fault,) = faults(CLUSTER, {"load_assignment": value})
    assert fault.endswith("expected a mapping with the fields of envoy.config.endpoint.v3.ClusterLoadAssignment")


def test_every_fault_is_told() -> None:
    found = faults(CLUSTER, {"name": 5, "foo": 1, "connect_timeout": "5", "load_assignment": {"endpoints": [{"x": 1}]}})
    assert [fault.partition(":")[0] for fault in found] == [
        "name",
        "foo",
        "connect_timeout",
        "load_assignment.endpoints[0].x",
    ]


def test_maps_of_messages_and_of_scalars() -> None:
    runtime = good(
        "envoy.config.bootstrap.v3.LayeredRuntime",
        {"layers": [{"name": "a", "static_layer": {"x": {"y": 1}, "z": [1, None, "t", True]}}]},
    )
    assert runtime.layers[0].static_layer["z"][2] == "t"
    options = good(CLUSTER, {"typed_extension_protocol_options": {"a": {"@type": RAW_BUFFER}, "b": None}})
    assert sorted(options.typed_extension_protocol_options) == ["a", "b"]
    assert dict(
        good("envoy.data.accesslog.v3.HTTPRequestProperties", {"request_headers": {"a": "b"}}).request_headers
    ) == {"a": "b"}


def test_faults_inside_maps_have_the_key_in_their_path() -> None:
    (fault,) = faults(CLUSTER, {"typed_extension_protocol_options": {"a.b": {"@type": RAW_BUFFER, "foo": 1}}})
    assert fault.startswith('typed_extension_protocol_options["a.b"].foo: unknown field')


def test_an_any_holds_the_message_that_it_names() -> None:
    made = good(CLUSTER, {"transport_socket": {"name": "x", "typed_config": {"@type": RAW_BUFFER}}})
    assert made.transport_socket.typed_config.type_url == RAW_BUFFER


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"foo": 1}, "typed_config: has no '@type'"),
        ({"@type": ""}, "typed_config.@type: does not take the text ''; expected a type URL with a host"),
        ({"@type": 5}, "typed_config.@type: does not take the number 5"),
        ({"@type": RAW_BUFFER.partition("/")[2]}, f"did you mean {RAW_BUFFER!r}?"),
        ({"@type": RAW_BUFFER + "s"}, f"did you mean {RAW_BUFFER!r}?"),
        ({"@type": RAW_BUFFER, "value": {}}, "typed_config.value: unknown field"),
        ([], "typed_config: does not take a list"),
        ({"@type": "x/google.protobuf.Struct", "a": 1}, "typed_config.a: unknown field 'a' beside the type"),
        ({"@type": "x/google.protobuf.Duration", "value": "1"}, "typed_config.value: does not take the text '1'"),
    ],
)
def test_what_is_wrong_with_an_any(value: Any, words: str) -> None:
    (fault,) = faults("envoy.config.core.v3.TransportSocket", {"typed_config": value})
    assert words in fault


@pytest.mark.parametrize("value", [{}, None, {"@type": "x/google.protobuf.Duration", "value": "1s"}])
def test_what_an_any_may_also_be(value: Any) -> None:
    good("envoy.config.core.v3.TransportSocket", {"name": "x", "typed_config": value})


def test_every_type_of_the_api_can_be_filled() -> None:
    """Nothing in the descriptors is of a kind that the tables of slots cannot be made for."""
    waiting, seen = [pool().FindMessageTypeByName("envoy.config.bootstrap.v3.Bootstrap")], set()
    while waiting:
        kind = waiting.pop()
        if kind.full_name not in seen:
            seen.add(kind.full_name)
            assert len(set(map(id, slots_of(kind).values()))) == len(kind.fields)
            waiting += [field.message_type for field in kind.fields if field.message_type is not None]
    assert len(seen) > 200
