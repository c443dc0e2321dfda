"""Header mutations as functions (envoy.config.core.v3.HeaderValueOption).

One level (route, virtual host, table, weighted cluster) is one function. As in Envoy it takes away first, then works
out all values, then overwrites, then adds; so no value sees what its own level adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyproxy.config.headers import AppendAction, HeaderAdd, HeaderChanges
from pyproxy.http.inline_headers import INLINE_REQUEST, INLINE_RESPONSE, append
from pyproxy.http.message import Headers, Pair, Request, Response
from pyproxy.telemetry.formatter import build_bytes_formatter, literal_bytes

Change = Callable[[Headers, Request, Response | None], None]
RequestChange = Callable[[Request], None]
ResponseChange = Callable[[Request, Response], None]


def build_request_change(changes: HeaderChanges) -> Change | None:
    """What one level does to requests; None if nothing."""
    if not changes.request_add and not changes.request_remove:
        return None
    return _build(changes.request_add, changes.request_remove, INLINE_REQUEST)


def build_response_change(changes: HeaderChanges) -> Change | None:
    """What one level does to responses; None if nothing."""
    if not changes.response_add and not changes.response_remove:
        return None
    return _build(changes.response_add, changes.response_remove, INLINE_RESPONSE)


def for_requests(levels: Iterable[Change | None]) -> RequestChange | None:
    """The levels, in this order, as one function; None if there is nothing to do."""
    changes = [change for change in levels if change is not None]
    if not changes:
        return None
    if len(changes) == 1:
        only = changes[0]
        return lambda request: only(request.headers, request, None)

    def change_all(request: Request) -> None:
        for change in changes:
            change(request.headers, request, None)

    return change_all


def for_responses(levels: Iterable[Change | None]) -> ResponseChange | None:
    """The levels, in this order, as one function; None if there is nothing to do."""
    changes = [change for change in levels if change is not None]
    if not changes:
        return None
    if len(changes) == 1:
        only = changes[0]
        return lambda request, response: only(response.headers, request, response)

    def change_all(request: Request, response: Response) -> None:
        for change in changes:
            change(response.headers, request, response)

    return change_all


def build_header_adds(adds: tuple[HeaderAdd, ...]) -> ResponseChange:
    """Additions to a response on their own."""
    change = _build(adds, (), INLINE_RESPONSE)
    return lambda request, response: change(response.headers, request, response)


def _build(adds: tuple[HeaderAdd, ...], removes: tuple[bytes, ...], inline: frozenset[bytes]) -> Change:
    plain = _plain_pairs(adds, inline)
    if plain is None:
        add = _general(adds, inline)
    elif not removes:
        return _plain(plain)
    else:
        add = _plain(plain)
    if not removes:
        return add

    def change(headers: Headers, request: Request, response: Response | None) -> None:
        for name in removes:
            headers.remove(name)
        add(headers, request, response)

    return change


def _plain_pairs(adds: tuple[HeaderAdd, ...], inline: frozenset[bytes]) -> list[Pair] | None:
    """What is added, if it is the same for all requests and nothing needs to be looked at."""
    pairs: list[Pair] = []
    for add in adds:
        value = literal_bytes(add.value)
        if value is None or add.name in inline or add.action is not AppendAction.APPEND_IF_EXISTS_OR_ADD:
            return None
        if value or add.keep_empty_value:
            pairs.append((add.name, value))
    return pairs


def _plain(pairs: list[Pair]) -> Change:
    index = dict(pairs)

    def add(headers: Headers, request: Request, response: Response | None) -> None:
        headers.pairs.extend(pairs)
        headers.index.update(index)

    return add


def _general(adds: tuple[HeaderAdd, ...], inline: frozenset[bytes]) -> Change:
    built = [(one.name, build_bytes_formatter(one.value), one.action, one.keep_empty_value) for one in adds]

    def add(headers: Headers, request: Request, response: Response | None) -> None:
        overwritten: list[Pair] = []
        added: list[Pair] = []
        for name, value_of, action, keep_empty in built:
            value = value_of(request, response)
            if not value and not keep_empty:
                continue
            if action is AppendAction.APPEND_IF_EXISTS_OR_ADD:
                added.append((name, value))
            elif action is AppendAction.ADD_IF_ABSENT:
                if name not in headers.index:
                    added.append((name, value))
            elif action is AppendAction.OVERWRITE_IF_EXISTS_OR_ADD or name in headers.index:
                overwritten.append((name, value))
        for name, value in overwritten:
            headers.remove(name)
            headers.add(name, value)
        for name, value in added:
            append(headers, name, value, inline)

    return add
