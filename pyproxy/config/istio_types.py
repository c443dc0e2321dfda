"""The messages of Istio's own filters, which are not among Envoy's: their fields, as descriptors for the pool.

Sources: istio/proxy, source/extensions/filters/http/{istio_stats,peer_metadata}/config.proto.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {"string": _Field.TYPE_STRING, "bool": _Field.TYPE_BOOL}


def istio_files() -> tuple[descriptor_pb2.FileDescriptorProto, ...]:
    """To be added to the pool behind Google's well-known types."""
    return _stats(), _peer_metadata()


def _stats() -> descriptor_pb2.FileDescriptorProto:
    file = _file("stats", "istio/stats.proto", "google/protobuf/duration.proto")
    config = _message(file, "MetricConfig", name=(2, "string"), match=(4, "string"), drop=(5, "bool"))
    _field(config, "tags_to_remove", 3, "string", repeated=True)
    _string_map(config, "dimensions", 1)
    _enum(file, "MetricType", "COUNTER", "GAUGE", "HISTOGRAM")
    _enum(file, "Reporter", "UNSPECIFIED", "SERVER_GATEWAY")
    _message(file, "MetricDefinition", name=(1, "string"), value=(2, "string"), type=(3, "enum .stats.MetricType"))
    plugin = _message(
        file,
        "PluginConfig",
        disable_host_header_fallback=(6, "bool"),
        tcp_reporting_duration=(7, ".google.protobuf.Duration"),
        reporter=(10, "enum .stats.Reporter"),
        rotation_interval=(11, ".google.protobuf.Duration"),
        graceful_deletion_interval=(12, ".google.protobuf.Duration"),
    )
    _field(plugin, "metrics", 8, ".stats.MetricConfig", repeated=True)
    _field(plugin, "definitions", 9, ".stats.MetricDefinition", repeated=True)
    return file


def _peer_metadata() -> descriptor_pb2.FileDescriptorProto:
    package = "io.istio.http.peer_metadata"
    file = _file(package, "istio/peer_metadata.proto")
    config = file.message_type.add(name="Config")
    for empty in ("Baggage", "WorkloadDiscovery"):
        config.nested_type.add(name=empty)
    _field(config.nested_type.add(name="IstioHeaders"), "skip_external_clusters", 1, "bool")
    inner = f".{package}.Config"
    discovery = config.nested_type.add(name="DiscoveryMethod")
    discovery.oneof_decl.add(name="method_specifier")
    for number, (name, kind) in enumerate(
        (("baggage", "Baggage"), ("workload_discovery", "WorkloadDiscovery"), ("istio_headers", "IstioHeaders")), 1
    ):
        _field(discovery, name, number, f"{inner}.{kind}").oneof_index = 0
    propagation = config.nested_type.add(name="PropagationMethod")
    propagation.oneof_decl.add(name="method_specifier")
    _field(propagation, "istio_headers", 1, f"{inner}.IstioHeaders").oneof_index = 0
    _field(propagation, "baggage", 2, f"{inner}.Baggage").oneof_index = 0
    for number, (name, kind) in enumerate(
        (
            ("downstream_discovery", "DiscoveryMethod"),
            ("upstream_discovery", "DiscoveryMethod"),
            ("downstream_propagation", "PropagationMethod"),
            ("upstream_propagation", "PropagationMethod"),
        ),
        1,
    ):
        _field(config, name, number, f"{inner}.{kind}", repeated=True)
    _field(config, "shared_with_upstream", 5, "bool")
    _field(config, "additional_labels", 6, "string", repeated=True)
    return file


def _file(package: str, name: str, *imports: str) -> descriptor_pb2.FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3", dependency=imports)


def _message(
    file: descriptor_pb2.FileDescriptorProto, message: str, /, **fields: tuple[int, str]
) -> descriptor_pb2.DescriptorProto:
    made = file.message_type.add(name=message)
    for name, (number, kind) in fields.items():
        _field(made, name, number, kind)
    return made


def _field(
    message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str, *, repeated: bool = False
) -> descriptor_pb2.FieldDescriptorProto:
    field = message.field.add(name=name, number=number)
    field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    if kind.startswith("enum "):
        field.type, field.type_name = _Field.TYPE_ENUM, kind.removeprefix("enum ")
    elif kind.startswith("."):
        field.type, field.type_name = _Field.TYPE_MESSAGE, kind
    else:
        field.type = _TYPES[kind]
    return field


def _string_map(message: descriptor_pb2.DescriptorProto, name: str, number: int) -> None:
    """A map is a repeated message of pairs, marked as one."""
    entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
    entry.options.map_entry = True
    _field(entry, "key", 1, "string")
    _field(entry, "value", 2, "string")
    _field(message, name, number, f".stats.{message.name}.{entry.name}", repeated=True)


def _enum(file: descriptor_pb2.FileDescriptorProto, name: str, *values: str) -> None:
    made = file.enum_type.add(name=name)
    for number, value in enumerate(values):
        made.value.add(name=value, number=number)
