from __future__ import annotations

import platform

from pyproxy import __version__
from pyproxy.server.build_info import ENVOY_VERSION, build_info, version_text


def test_the_version_has_envoys_five_parts() -> None:
    revision, version, status, build, tls = version_text().split("/")
    assert len(revision) == 40
    assert version == ENVOY_VERSION
    assert status == f"pyproxy-{__version__}"
    assert build == "RELEASE"
    assert tls.startswith("OpenSSL-")


def test_the_engines_are_named() -> None:
    build = build_info()
    assert build["http1"] in ("httptools", "h11")
    assert build["http2"] in ("nghttp2", "h2")
    assert build["loop"].startswith("uvloop ")
    assert f"CPython {platform.python_version()} " in build["python"]
