"""What this proxy is made of: its version, the Envoy version that it follows, and which engines are loaded."""

from __future__ import annotations

import importlib.metadata
import platform
import ssl
import sys
from pathlib import Path

from pyproxy import __version__
from pyproxy.http import message
from pyproxy.http.engines import H1_ENGINE, H2_ENGINE

ENVOY_VERSION = "1.40.0"
"""The Envoy whose behaviour is followed; control planes and tools look for it."""
NO_REVISION = "0" * 40


def version_text() -> str:
    """In the form of Envoy's: revision/version/status/build type/TLS library."""
    return f"{NO_REVISION}/{ENVOY_VERSION}/pyproxy-{__version__}/RELEASE/{tls_library()}"


def tls_library() -> str:
    """Such as `OpenSSL-3.0.17`."""
    return "-".join(ssl.OPENSSL_VERSION.split()[:2])


def interpreter() -> str:
    """Which Python, and how it was built: one that is split into a shared library costs a tenth more per request."""
    linked = "shared" if "/libpython" in _memory_map() else "static"
    compiler = platform.python_compiler().strip()
    return f"{platform.python_implementation()} {platform.python_version()} ({compiler}, {linked}, {sys.executable})"


def is_compiled() -> bool:
    """Whether mypyc has compiled the modules that every request passes through."""
    return not str(message.__file__).endswith(".py")


def _memory_map() -> str:
    try:
        return Path("/proc/self/maps").read_text("utf-8", "replace")
    except OSError:
        return ""


def build_info() -> dict[str, str]:
    """Name -> what is loaded."""
    return {
        "pyproxy": __version__,
        "python": interpreter(),
        "loop": f"uvloop {importlib.metadata.version('uvloop')}",
        "http1": H1_ENGINE,
        "http2": H2_ENGINE,
        "hot_path": "compiled" if is_compiled() else "interpreted",
        "tls": tls_library(),
    }
