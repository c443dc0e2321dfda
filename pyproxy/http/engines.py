"""Which engines are in use: llhttp and libnghttp2 where they are there, else the pure ones on h11 and h2.

With PYPROXY_PURE=1 in the environment HTTP/2 is spoken by the pure one all the same.
`pyproxy --version`, the start log and `/server_info` say which; the benchmark asserts the fast one.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pyproxy.http.codec import CodecOptions, RequestDecoder, ResponseDecoder
from pyproxy.http.h2_session import Session, SessionOptions

try:
    from pyproxy.http import h1 as _engine
except ImportError:  # httptools is not there for this platform
    from pyproxy.http import h1_py as _engine  # type: ignore[no-redef]

try:
    if os.environ.get("PYPROXY_PURE"):
        raise ImportError
    from pyproxy.http import h2_native as _h2_engine

    _new_session: Callable[[bool, SessionOptions], Session] = _h2_engine.NativeSession
except ImportError:  # it was built without libnghttp2
    from pyproxy.http import h2_py as _h2_engine  # type: ignore[no-redef]

    _new_session = _h2_engine.PySession  # type: ignore[attr-defined]

H1_ENGINE: str = _engine.ENGINE
H2_ENGINE: str = _h2_engine.ENGINE


def new_session(options: SessionOptions, *, server: bool) -> Session:
    """One end of an HTTP/2 connection."""
    return _new_session(server, options)


def new_request_decoder(options: CodecOptions) -> RequestDecoder:
    """llhttp's methods are fixed, it folds no lines and judges lengths: what it cannot do the pure engine does."""
    if options.allow_custom_methods or options.allow_chunked_length or options.lenient:
        from pyproxy.http import h1_py

        return h1_py.H1RequestDecoder(options)
    return _engine.H1RequestDecoder(options)


def new_response_decoder(options: CodecOptions) -> ResponseDecoder:
    """See `new_request_decoder`."""
    if options.lenient:
        from pyproxy.http import h1_py

        return h1_py.H1ResponseDecoder(options)
    return _engine.H1ResponseDecoder(options)
