"""A bootstrap from every kind of file, merged or not, right or wrong."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from pyproxy.config.descriptors import message_class, pool
from pyproxy.config.invalid import Fault, InvalidConfig
from pyproxy.config.load import BOOTSTRAP, Loaded, add_faults, load_bootstrap, load_message

GOOD = """\
node: {id: a, cluster: c, metadata: {x: 1, l: [1], m: {a: 1}}, client_features: [f]}
static_resources:
  clusters:
  - name: k
    type: STRICT_DNS
    connectTimeout: 2s
    transport_socket:
      name: raw
      typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}
"""


def bootstrap(**fields: Any) -> Any:
    return json_format.ParseDict(fields, message_class(BOOTSTRAP)(), descriptor_pool=pool())


def write(directory: Path, name: str, content: str | bytes) -> str:
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def lines(loaded: Loaded) -> list[str]:
    return [re.sub(r"^/[^: ]*/", "", loaded.positions.render(fault)) for fault in loaded.faults]


def refused(path: str, **options: Any) -> Fault:
    with pytest.raises(InvalidConfig) as caught:
        load_bootstrap(path, **options)
    (fault,) = caught.value.faults
    return fault


def test_every_kind_of_file_gives_the_same_message(tmp_path: Path) -> None:
    wanted = load_bootstrap(write(tmp_path, "b.yaml", GOOD))
    assert wanted.faults == []
    as_json = json_format.MessageToJson(wanted.message, descriptor_pool=pool())
    files = {
        "b.yml": GOOD,
        "b.json": as_json,
        "b.JSON": as_json,
        "b.pb": wanted.message.SerializeToString(),
        "b.pb_text": text_format.MessageToString(wanted.message, descriptor_pool=pool()),
        "yaml-without-suffix": GOOD,
        "json-without-suffix": as_json,
    }
    for name, content in files.items():
        loaded = load_bootstrap(write(tmp_path, name, content))
        assert (name, loaded.message, loaded.faults) == (name, wanted.message, [])


def test_a_text_is_merged_over_the_file_as_protobuf_merges(tmp_path: Path) -> None:
    overlay = """\
node: {id: b, metadata: {x: '', l: [2], m: {b: 2}}, client_features: [g]}
static_resources: {clusters: [{name: k2, connect_timeout: 0.5s}]}
"""
    message: Any = load_bootstrap(write(tmp_path, "b.yaml", GOOD), overlay).message
    assert (message.node.id, message.node.cluster, list(message.node.client_features)) == ("b", "c", ["f", "g"])
    assert json_format.MessageToDict(message.node.metadata) == {"x": "", "l": [2], "m": {"b": 2}}
    assert [cluster.name for cluster in message.static_resources.clusters] == ["k", "k2"]


def test_the_text_alone_is_a_bootstrap() -> None:
    message: Any = load_bootstrap("", "node: {id: a}").message
    assert message.node.id == "a"


def test_faults_of_the_text_and_of_the_file_have_their_own_places(tmp_path: Path) -> None:
    loaded = load_bootstrap(
        write(tmp_path, "b.yaml", "static_resources:\n  clusters:\n  - nme: a\n"),
        "static_resources:\n  clusters:\n  - {name: b, connect_timeout: 0s}\n  - {name: c, type: X}\n",
    )
    assert [line.partition(" ")[0] for line in lines(loaded)] == [
        "b.yaml:3:5:",
        "--config-yaml:4:15:",
        "--config-yaml:3:15:",
    ]


def test_what_follows_from_a_fault_is_not_told(tmp_path: Path) -> None:
    """`nme` leaves `name` unset and a bad duration leaves 0s, which break rules too."""
    text = "static_resources:\n  clusters:\n  - nme: a\n    connect_timeout: 5\n"
    first, second = lines(load_bootstrap(write(tmp_path, "b.yaml", text)))
    assert first.startswith("b.yaml:3:5: static_resources.clusters[0].nme: unknown field 'nme' in envoy.config.cluster")
    assert first.endswith("; did you mean 'name'?")
    assert second.startswith("b.yaml:4:5: static_resources.clusters[0].connect_timeout: does not take the number 5;")
    assert second.endswith(" expected a duration in seconds with the suffix 's', such as '0.25s'; did you mean '5s'?")


def test_what_a_later_step_finds_is_told_once_and_only_if_it_is_new(tmp_path: Path) -> None:
    loaded = load_bootstrap(write(tmp_path, "b.yaml", "static_resources: {clusters: [{name: a, type: X}, {name: b}]}"))
    path = ("static_resources", "clusters")
    add_faults(
        loaded, [Fault((*path, 0), "has no type"), Fault((*path, 1), "has no hosts"), Fault((*path, 1), "has no hosts")]
    )
    assert [fault.path for fault in loaded.faults] == [(*path, 0, "type"), (*path, 1)]


def test_every_fault_is_told_in_one_run(tmp_path: Path) -> None:
    text = """\
static_resources:
  clusters:
  - name: a
    conect_timeout: 1s
    type: STATICC
    type: STATIC
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 99999}}
    filter_chains:
    - filters:
      - name: h
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConectionManager
      - name: h
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          request_timeout: 5 s
          route_config: {virtual_hosts: [{name: v, domains: []}]}
"""
    assert [line.split(" ")[0] for line in lines(load_bootstrap(write(tmp_path, "b.yaml", text)))] == [
        "b.yaml:6:5:",
        "b.yaml:4:5:",
        "b.yaml:5:5:",
        "b.yaml:14:11:",
        "b.yaml:19:11:",
        "b.yaml:9:52:",
        "b.yaml:20:52:",
    ]


def test_unknown_fields_are_passed_over_with_a_warning_where_that_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path, "b.yaml", "node: {id: a,\n foo: 1}\n")
    assert len(load_bootstrap(path).faults) == 1
    loaded = load_bootstrap(path, allow_unknown=True)
    assert loaded.faults == []
    assert loaded.warnings == [f"{path}:2:2: node.foo: unknown, passed over"]


def test_only_the_first_yaml_document_is_read_and_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, "b.yaml", "node: {id: a}\n---\nnode: {id: b}\n")
    loaded = load_bootstrap(path)
    assert loaded.message == bootstrap(node={"id": "a"})
    assert loaded.warnings == [f"{path}: only the first YAML document is read, as in Envoy"]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert load_bootstrap(write(tmp_path, "b.yaml", "\ufeffnode: {id: a}\n")).message == bootstrap(node={"id": "a"})


@pytest.mark.parametrize(
    ("name", "content", "place", "words"),
    [
        ("b.yaml", "", "b.yaml", "the text is empty"),
        ("b.yaml", "# nothing\n", "b.yaml", "the text is empty"),
        ("b.yaml", b"node:\n  id: '\xe9'\n", "b.yaml:2:8", "the byte 0xe9 is not UTF-8"),
        ("b.yaml", "a: [\n", "b.yaml:2:1", "not YAML"),
        ("b.json", "{", "b.json:1:2", "not JSON"),
        ("b.json", "admin: {}", "b.json:1:1", "not JSON"),
        ("b.pb", b"\xff\xff", "b.pb", "is not a serialised envoy.config.bootstrap.v3.Bootstrap"),
        ("b.pb_text", "node {\n  foo: 1\n}", "b.pb_text:2:3", 'has no field named "foo"'),
    ],
)
def test_what_cannot_be_read_at_all(tmp_path: Path, name: str, content: str | bytes, place: str, words: str) -> None:
    fault = refused(write(tmp_path, name, content))
    assert str(fault.place) == str(tmp_path / place)
    assert words in fault.reason


def test_a_misspelt_field_of_protobuf_text_comes_with_the_nearest_one(tmp_path: Path) -> None:
    assert refused(write(tmp_path, "b.pb_text", "node { idd: 'a' }")).nearest == "id"


@pytest.mark.parametrize("text", ["null", "abc", "- a", "5"])
def test_a_document_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    (line,) = lines(load_bootstrap(write(tmp_path, "b.yaml", text)))
    assert line.endswith("expected a mapping with the fields of envoy.config.bootstrap.v3.Bootstrap")


def test_no_file_and_no_text() -> None:
    assert "there is no configuration" in refused("").reason


def test_a_file_that_is_not_there() -> None:
    fault = refused("/no/such/file.yaml")
    assert str(fault.place) == "/no/such/file.yaml"
    assert fault.reason == "cannot be read: No such file or directory"


def test_a_file_may_be_a_fifo(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("node: {id: a, foo: 1}",))
    writer.start()
    loaded = load_bootstrap(str(path))
    writer.join()
    assert [line.partition(" ")[0] for line in lines(loaded)] == ["b.yaml:1:15:"]


def test_unknown_numbers_of_a_serialised_message_are_faults(tmp_path: Path) -> None:
    newer = bootstrap(static_resources={"clusters": [{"name": "a"}]}).SerializeToString() + b"\xf8\x3f\x05"
    path = write(tmp_path, "b.pb", newer)
    assert lines(load_bootstrap(path)) == [
        "b.pb: (the whole document): unknown field number 1023 in envoy.config.bootstrap.v3.Bootstrap"
    ]
    assert load_bootstrap(path, allow_unknown=True).faults == []


def test_a_message_of_another_type() -> None:
    loaded = load_message("name: a\nfoo: 1\n", "c.yaml", "envoy.config.cluster.v3.Cluster")
    assert [f"{fault.place}" for fault in loaded.faults] == ["c.yaml:2:1"]


names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff"),
    min_size=1,
    max_size=8,
)
durations = st.integers(1, 10**15).map(lambda micros: f"{micros // 10**6}.{micros % 10**6:06}s")
structs = st.dictionaries(names, st.booleans() | names | st.none(), max_size=3)
clusters = st.fixed_dictionaries(
    {"name": names},
    optional={
        "alt_stat_name": names,
        "type": st.integers(0, 4),
        "lb_policy": st.sampled_from([0, 1, 2, 3, 5, 6, 7]),
        "connect_timeout": durations,
        "per_connection_buffer_limit_bytes": st.integers(0, 2**32 - 1),
        "dns_lookup_family": st.integers(0, 4),
        "ignore_health_on_host_removal": st.booleans(),
        "common_lb_config": st.floats(0, 100).map(lambda value: {"healthy_panic_threshold": {"value": value}}),
        "metadata": st.dictionaries(names, structs, max_size=2).map(lambda value: {"filter_metadata": value}),
        "preconnect_policy": st.fixed_dictionaries({}),
        "circuit_breakers": st.lists(st.fixed_dictionaries({"max_requests": st.integers(0, 9)}), max_size=3).map(
            lambda value: {"thresholds": value}
        ),
    },
)


@settings(deadline=None, max_examples=60)
@given(st.lists(clusters, max_size=4), st.booleans(), st.sampled_from(["b.yaml", "b.json", "b.pb", "b.pb_text"]))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, made: list[dict[str, Any]], proto_names: bool, name: str
) -> None:
    wanted = bootstrap(static_resources={"clusters": made})
    if name == "b.pb":
        content: str | bytes = wanted.SerializeToString()
    elif name == "b.pb_text":
        content = text_format.MessageToString(wanted, descriptor_pool=pool())
    else:
        # JSON is YAML, but for escaped surrogates, which Envoy refuses too, and numbers like 1.0 in structs.
        content = json_format.MessageToJson(
            wanted, preserving_proto_field_name=proto_names, ensure_ascii=False, descriptor_pool=pool()
        )
    loaded = load_bootstrap(write(tmp_path_factory.getbasetemp(), name, content))
    assert loaded.faults == []
    assert loaded.message == wanted
