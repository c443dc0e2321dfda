"""What is done for every request, by the fastest that is here: `http.native`, which is C, else `http.pure`."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyproxy.http.message import Pair

try:
    if os.environ.get("PYPROXY_PURE"):
        raise ImportError
    from pyproxy.http import native as _engine
except ImportError:  # it was built without a compiler
    from pyproxy.http import pure as _engine  # type: ignore[no-redef]

LineTable: Final[Callable[[Callable[[bytes], tuple[Any, bool]]], Any]] = _engine.LineTable
read_head: Final[Callable[[bytes, Any, Any], tuple[Any, list[Pair], dict[bytes, bytes], int] | None]] = (
    _engine.read_head
)
write_head: Final[Callable[[bytes, list[Pair]], bytes]] = _engine.write_head
has_any: Final[Callable[[dict[bytes, bytes], frozenset[bytes]], bool]] = _engine.has_any
index_of: Final[Callable[[list[Pair]], dict[bytes, bytes]]] = _engine.index_of
take_away: Final[Callable[[list[Pair], dict[bytes, bytes], frozenset[bytes]], None]] = _engine.take_away
is_odd: Final[Callable[[bytes], bool]] = _engine.is_odd
advance: Final[Callable[[Coroutine[Any, Any, Any]], tuple[bool, Any]]] = _engine.advance
