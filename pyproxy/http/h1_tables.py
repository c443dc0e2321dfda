"""The lines that this process has learnt, and the engine that looks them up: C where it was built, else Python.

What every connection has learnt is shared; it is bounded, and made of lines that peers send all the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pyproxy.http import h1_encode, h1_lines
from pyproxy.http.message import Pair

_Read = Callable[[bytes, int, Any, Any], tuple[Any, list[Pair], dict[bytes, bytes]]]

try:
    if os.environ.get("PYPROXY_PURE"):
        raise ImportError
    from pyproxy.http import h1_native

    _table: Callable[[Callable[[bytes], tuple[Any, bool]]], Any] = h1_native.LineTable
    read_head: _Read = h1_native.read_head
    write_head: Callable[[bytes, list[Pair]], bytes] = h1_native.write_head
except ImportError:  # it was built without a compiler
    _table = h1_lines.LineTable
    read_head = h1_lines.read_head
    write_head = h1_encode.write_head

FIELDS = _table(h1_lines.read_field)
REQUEST_LINES = _table(h1_lines.read_request_line)
STATUS_LINES = _table(h1_lines.read_status_line)
