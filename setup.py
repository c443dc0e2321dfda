"""Build hook: writes the xDS v3 descriptor set that pyproxy reads its configuration with.

`xds-protos` must never sit beside pyproxy at run time: it owns files of the OpenTelemetry and googleapis
packages. So it is a build requirement only, and what ships is one serialised `FileDescriptorSet`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DESCRIPTOR_SET = Path("pyproxy/config/xds.binpb")
ROOTS = ("envoy/", "xds/", "udpa/", "validate/", "opentelemetry/proto/")


def descriptor_set() -> bytes:
    """Every v3 xDS file and what it imports, imports first."""
    from google.protobuf import descriptor_pb2

    wanted = descriptor_pb2.FileDescriptorSet()
    done: set[str] = set()

    def add(descriptor: object) -> None:
        if descriptor.name in done:  # type: ignore[attr-defined]
            return
        done.add(descriptor.name)  # type: ignore[attr-defined]
        for dependency in descriptor.dependencies:  # type: ignore[attr-defined]
            add(dependency)
        descriptor.CopyToProto(wanted.file.add())  # type: ignore[attr-defined]

    files = importlib.metadata.files("xds-protos") or []
    for file in sorted(str(f) for f in files):
        if not file.endswith("_pb2.py") or not file.startswith(ROOTS):
            continue
        if "/v2" in file or "v2alpha" in file or file.startswith("envoy/api/v2"):
            continue
        module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        add(module.DESCRIPTOR)
    return wanted.SerializeToString(deterministic=True)


class BuildWithDescriptors(build_py):
    """Generates the descriptor set into the source tree, then builds as usual."""

    def run(self) -> None:
        DESCRIPTOR_SET.write_bytes(descriptor_set())
        super().run()


setup(cmdclass={"build_py": BuildWithDescriptors})
