"""Which HTTP/1 engine is in use: llhttp where it is installed, else the pure one on h11.

`pyproxy --version`, the start log and `/server_info` say which; the benchmark asserts the fast one.
"""

from __future__ import annotations

from pyproxy.http.codec import CodecOptions, RequestDecoder, ResponseDecoder

try:
    from pyproxy.http import h1 as _engine
except ImportError:  # httptools is not there for this platform
    from pyproxy.http import h1_py as _engine  # type: ignore[no-redef]

H1_ENGINE: str = _engine.ENGINE


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
