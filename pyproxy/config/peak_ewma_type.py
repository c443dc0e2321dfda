"""The message of Envoy's peak EWMA policy, as a descriptor for the pool: the published xDS types lack it.

Source: envoyproxy/envoy, api/envoy/extensions/load_balancing_policies/peak_ewma/v3 (before: contrib, v3alpha).
"""

from __future__ import annotations

from typing import Final

from google.protobuf import descriptor_pb2

_Field = descriptor_pb2.FieldDescriptorProto
PACKAGES: Final = tuple(f"envoy.extensions.load_balancing_policies.peak_ewma.{one}" for one in ("v3", "v3alpha"))
_FIELDS: Final = (
    ("decay_time", 1, "Duration"),
    ("aggregation_interval", 2, "Duration"),
    ("max_samples_per_host", 3, "UInt32Value"),
    ("default_rtt", 4, "Duration"),
    ("penalty_value", 5, "DoubleValue"),
)


def peak_ewma_files() -> tuple[descriptor_pb2.FileDescriptorProto, ...]:
    """To be added to the pool behind Google's well-known types."""
    return tuple(_file(package) for package in PACKAGES)


def _file(package: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}/peak_ewma.proto",
        package=package,
        syntax="proto3",
        dependency=("google/protobuf/duration.proto", "google/protobuf/wrappers.proto"),
    )
    message = file.message_type.add(name="PeakEwma")
    for name, number, kind in _FIELDS:
        field = message.field.add(name=name, number=number)
        field.label, field.type, field.type_name = (
            _Field.LABEL_OPTIONAL,
            _Field.TYPE_MESSAGE,
            f".google.protobuf.{kind}",
        )
    return file
