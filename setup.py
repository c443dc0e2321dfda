"""Build hooks: the xDS v3 descriptor set that pyproxy reads its configuration with, and the compiled hot path.

The modules in `COMPILED` are ordinary typed Python. Where mypyc and a C compiler are there they are compiled, which
costs about a third less CPU per request; where not, they run as they are. `PYPROXY_PURE=1` asks for that.

`xds-protos` must never sit beside pyproxy at run time: it owns files of the OpenTelemetry and googleapis
packages. So it is a build requirement only, and what ships is one serialised `FileDescriptorSet`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import BaseError, CCompilerError

COMPILED = (
    "clock",
    "tasks",
    "network/connection",
    "network/cork",
    "network/poller",
    "network/splice",
    "http/body",
    "http/codec",
    "http/drive",
    "http/grpc_frames",
    "http/h1",
    "http/h1_chunks",
    "http/h1_downstream",
    "http/h1_encode",
    "http/h1_head",
    "http/h1_lines",
    "http/h1_options",
    "http/h1_response_writer",
    "http/h1_rules",
    "http/fast",
    "http/h1_tables",
    "http/pure",
    "http/h2_connection",
    "http/h2_counts",
    "http/h2_downstream",
    "http/h2_guard",
    "http/h2_head",
    "http/h2_session",
    "http/h2_stream",
    "http/message",
    "http/request_id",
    "http/stream_info",
    "http/through",
    "http/whole_body",
    "clusters/circuit_breakers",
    "clusters/balance",
    "clusters/cluster",
    "clusters/conn_pool",
    "clusters/health_checks/probe",
    "clusters/h2_failures",
    "clusters/h2_upstream",
    "clusters/host",
    "clusters/host_set",
    "clusters/load_balancers/client_weighted",
    "clusters/load_balancers/edf",
    "clusters/load_balancers/least_request",
    "clusters/load_balancers/localities",
    "clusters/load_balancers/maglev",
    "clusters/load_balancers/peak_ewma",
    "clusters/load_balancers/random_host",
    "clusters/load_balancers/ring_hash",
    "clusters/load_balancers/round_robin",
    "clusters/load_balancers/slow_start",
    "clusters/load_balancers/zone_aware",
    "clusters/try_timers",
    "clusters/one_try",
    "clusters/pool_of_host",
    "clusters/upstream",
    "routes/domains",
    "routes/forwarding",
    "routes/path_index",
    "routes/route",
    "routes/table",
    "telemetry/logs",
    "telemetry/stat",
    "routes/target",
    "routes/virtual_host",
    "filters/common/grpc_methods",
    "filters/common/terminal",
    "filters/http/grpc_http1_bridge",
    "filters/http/grpc_http1_reverse_bridge",
    "filters/http/grpc_json_transcoder/bodies",
    "filters/http/grpc_stats",
    "filters/http/grpc_web",
    "filters/http/router/call",
    "filters/http/router/pause",
    "filters/http/router/race",
    "filters/http/router/reports",
    "filters/http/router/retry_state",
    "filters/http/router/router",
    "filters/http/router/shadow",
    "filters/http/router/timeouts",
    "filters/network/direct_response",
    "filters/network/echo",
    "filters/network/http_connection_manager/client_cert",
    "filters/network/http_connection_manager/exchange",
    "filters/network/http_connection_manager/manager",
    "filters/network/http_connection_manager/request_headers",
    "filters/network/http_connection_manager/response_headers",
    "filters/network/http_connection_manager/routing",
    "filters/network/http_connection_manager/scopes",
    "filters/network/tcp_proxy/bulk",
    "filters/network/tcp_proxy/session",
    "filters/network/tcp_proxy/stream_upstream",
    "filters/network/tcp_proxy/tcp_proxy",
    "filters/network/tcp_proxy/upstream",
)
"""What every request passes through."""

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


class BuildWhereItCanBe(build_ext):
    """A machine without a C compiler or without Python's headers gets the same modules uncompiled."""

    def run(self) -> None:
        try:
            super().run()
        except (CCompilerError, BaseError) as error:
            print(f"pyproxy: the hot path stays uncompiled: {error}", file=sys.stderr)
            self.extensions = []


def compiled_modules() -> list[Extension]:
    """The extension modules, or none where they cannot be had."""
    if os.environ.get("PYPROXY_PURE"):
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        print("pyproxy: no mypyc here, so the hot path stays uncompiled", file=sys.stderr)
        return []
    flags = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    try:
        made: list[Extension] = mypycify([*flags, *(f"pyproxy/{name}.py" for name in COMPILED)], opt_level="3")
    except SystemExit:  # mypyc has said why
        print("pyproxy: mypyc refuses the hot path, so it stays uncompiled", file=sys.stderr)
        return []
    return made


def native_module() -> list[Extension]:
    """What is done for every request in C, or none where Cython is not there."""
    if os.environ.get("PYPROXY_PURE"):
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        print("pyproxy: no Cython here, so heads of HTTP/1 are looked up and written in Python", file=sys.stderr)
        return []
    extension = Extension("pyproxy.http.native", ["pyproxy/http/native.pyx"], extra_compile_args=["-O2"])
    made: list[Extension] = cythonize([extension], build_dir="build", quiet=True)
    return made


def http2_module() -> list[Extension]:
    """The HTTP/2 engine on libnghttp2, or none where the library or its headers are not there."""
    if os.environ.get("PYPROXY_PURE"):
        return []
    try:
        from Cython.Build import cythonize

        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libnghttp2 >= 1.45"], capture_output=True, text=True, check=True
        ).stdout.split()
    except (ImportError, OSError, subprocess.CalledProcessError):
        print(
            "pyproxy: no Cython, pkg-config or libnghttp2 (Debian: libnghttp2-dev) here, so HTTP/2 is spoken by the"
            " slower h2 package",
            file=sys.stderr,
        )
        return []
    extension = Extension(
        "pyproxy.http.h2_native",
        ["pyproxy/http/h2_native.pyx"],
        include_dirs=[flag[2:] for flag in flags if flag.startswith("-I")],
        library_dirs=[flag[2:] for flag in flags if flag.startswith("-L")],
        libraries=[flag[2:] for flag in flags if flag.startswith("-l")],
        extra_compile_args=["-O2"],
    )
    made: list[Extension] = cythonize([extension], build_dir="build", quiet=True)
    return made


setup(
    cmdclass={"build_py": BuildWithDescriptors, "build_ext": BuildWhereItCanBe},
    ext_modules=compiled_modules() + native_module() + http2_module(),
)
