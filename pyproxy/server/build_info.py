"""What this proxy is made of: its version, the Envoy version that it follows, and which engines are loaded."""

from __future__ import annotations

import importlib.metadata
import platform
import ssl
import sys
import sysconfig

from pyproxy import __version__
from pyproxy.http.engines import H1_ENGINE

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
    """Which Python, and how it was built: a shared build without PGO costs about a fifth more per request."""
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    built = "optimized" if "--enable-optimizations" in flags else "not optimized"
    return f"{platform.python_implementation()} {platform.python_version()} ({built}, {sys.executable})"


def build_info() -> dict[str, str]:
    """Name -> what is loaded."""
    return {
        "pyproxy": __version__,
        "python": interpreter(),
        "loop": f"uvloop {importlib.metadata.version('uvloop')}",
        "http1": H1_ENGINE,
        "tls": tls_library(),
    }
