"""Requests, responses and their headers: pure data, the same for every HTTP version.

Header names are lower-case bytes, values are bytes as they came. Pseudo-headers and Host are attributes, never
in the list: there is one authority and one path, so authorisation sees what is forwarded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyproxy.http.fast import index_of

if TYPE_CHECKING:
    from pyproxy.http.body import Body
    from pyproxy.http.stream_info import StreamInfo

Pair = tuple[bytes, bytes]


class Headers:
    """An ordered list of (name, value) with an index of the names.

    `pairs` and `index` may be read directly on the hot path. `index` gives one of the values of a name;
    `repeated` tells whether some name stands more than once.
    """

    __slots__ = ("index", "pairs")

    def __init__(self, pairs: list[Pair] | None = None, index: dict[bytes, bytes] | None = None) -> None:
        self.pairs: list[Pair] = [] if pairs is None else pairs
        self.index: dict[bytes, bytes] = index_of(self.pairs) if index is None else index

    @property
    def repeated(self) -> bool:
        return len(self.index) != len(self.pairs)

    def get(self, name: bytes) -> bytes | None:
        """The first value, or None."""
        found = self.index.get(name)
        if found is None or len(self.index) == len(self.pairs):
            return found
        return next(v for n, v in self.pairs if n == name)

    def get_all(self, name: bytes) -> list[bytes]:
        if name not in self.index:
            return []
        return [v for n, v in self.pairs if n == name]

    def joined(self, name: bytes) -> bytes | None:
        """All values joined by a comma, as matchers see them (Envoy: HeaderUtility::getAllOfHeaderAsString)."""
        found = self.index.get(name)
        if found is None or len(self.index) == len(self.pairs):
            return found
        return b",".join(v for n, v in self.pairs if n == name)

    def add(self, name: bytes, value: bytes) -> None:
        """Append, whether or not the name is there."""
        self.pairs.append((name, value))
        self.index[name] = value

    def set(self, name: bytes, value: bytes) -> None:
        """Replace all values of a name, in the place of the first; append if it is not there."""
        if name not in self.index:
            self.add(name, value)
            return
        pairs = self.pairs
        first = next(i for i, pair in enumerate(pairs) if pair[0] == name)
        if self.repeated:
            pairs[first + 1 :] = [pair for pair in pairs[first + 1 :] if pair[0] != name]
        pairs[first] = (name, value)
        self.index[name] = value

    def remove(self, name: bytes) -> None:
        if self.index.pop(name, None) is not None:
            self.pairs[:] = [pair for pair in self.pairs if pair[0] != name]

    def __contains__(self, name: bytes) -> bool:
        return name in self.index

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.pairs == other.pairs

    __hash__ = None  # type: ignore[assignment]

    def size(self) -> int:
        """What Envoy counts as header bytes received: names, values and 3 for each line."""
        return sum([len(name) + len(value) + 3 for name, value in self.pairs])

    def copy(self) -> Headers:
        return Headers(self.pairs.copy())

    def __repr__(self) -> str:
        return f"Headers({self.pairs!r})"


class Request:
    """One request on its way upstream. `path` includes the query. `body` is None where there is none.

    `route` is the `routes.route.Route` that was chosen, None until then.
    """

    __slots__ = (
        "authority",
        "body",
        "ends_here",
        "half_closes",
        "headers",
        "info",
        "method",
        "path",
        "rerouting",
        "route",
        "scheme",
        "upgrade",
    )

    def __init__(
        self,
        method: bytes,
        path: bytes,
        authority: bytes,
        headers: Headers,
        info: StreamInfo,
        body: Body | None = None,
        scheme: bytes = b"http",
    ) -> None:
        self.method = method
        self.path = path
        self.authority = authority
        self.headers = headers
        self.info = info
        self.body = body
        self.scheme = scheme
        self.route: Any = None
        self.upgrade = b""
        """The protocol that the request asks to be allowed to speak (`connect` for CONNECT), if it is allowed: body and
        response are the two ways of a tunnel."""
        self.rerouting: Any = None
        """What looks for a route anew, where a filter may want that (http_connection_manager.routing)."""
        self.ends_here = False
        """It is a CONNECT that ends here: the upstream sees only what is in the tunnel."""
        self.half_closes = False
        """A tunnel of which one way may end before the other: the end of the response is not that of the request."""

    def __repr__(self) -> str:
        return f"<Request {self.method!r} {self.authority!r} {self.path!r}>"


class Response:
    """One response on its way downstream. `body` is None where there is none; trailers come with its end."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: Body | None = None) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"<Response {self.status}>"
