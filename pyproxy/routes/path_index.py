"""Which routes of a virtual host fit a path, in the order of the list, without looking at all of them.

Exact paths are in a dict and prefixes in a sorted set; regexes and templates are asked only of paths that begin with
the literal text which they begin with. Envoy looks at one route after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

from pyproxy.config.regex import compile_regex
from pyproxy.config.route import PathKind, RouteMatch
from pyproxy.routes.prefixes import PrefixSet
from pyproxy.routes.regex_literals import literals_of
from pyproxy.routes.uri_template import UriTemplate, literal_prefix

Check = Callable[[bytes], bool]
Entry = tuple[int, Check | None]
"""A route's place in the list, and what the path must pass besides having been found; None if that is enough."""

_place = itemgetter(0)


class PathIndex:
    """`final[i]` says that route i asks nothing of a request besides its path: nothing behind it can be reached."""

    __slots__ = ("_any_case", "_as_is", "_final")

    def __init__(self, matches: Sequence[RouteMatch], final: Sequence[bool]) -> None:
        self._final = final
        as_is, any_case = _Shelf(), _Shelf()
        for place, match in enumerate(matches):
            _shelve(place, match, as_is if match.case_sensitive else any_case)
        self._as_is = _Lookup(as_is, final)
        self._any_case = _Lookup(any_case, final) if any_case else None

    def find(self, path: bytes) -> list[int]:
        """The places of the routes that fit a path (without query), up to the first that asks for no more."""
        path = path.partition(b"#")[0]
        lists = self._as_is.entries(path)
        if self._any_case is not None:
            lists += self._any_case.entries(path.lower())
        final = self._final
        found = []
        entries = lists[0] if len(lists) == 1 else sorted((entry for one in lists for entry in one), key=_place)
        for place, check in entries:
            if check is None or check(path):
                found.append(place)
                if final[place]:
                    break
        return found


class _Shelf:
    """Entries by what is looked up to find them."""

    def __init__(self) -> None:
        self.exact: dict[bytes, list[Entry]] = {}
        self.prefixes: dict[bytes, list[Entry]] = {}

    def __bool__(self) -> bool:
        return bool(self.exact or self.prefixes)


class _Lookup:
    """One shelf, ready to be asked."""

    __slots__ = ("_exact", "_prefix_set", "_prefixes")

    def __init__(self, shelf: _Shelf, final: Sequence[bool]) -> None:
        self._exact = {key: _reachable(entries, final) for key, entries in shelf.exact.items()}
        self._prefixes = {key: _reachable(entries, final) for key, entries in shelf.prefixes.items()}
        self._prefix_set = PrefixSet(shelf.prefixes)

    def entries(self, path: bytes) -> list[list[Entry]]:
        exact = self._exact.get(path)
        found = [] if exact is None else [exact]
        prefixes = self._prefixes
        found += [prefixes[key] for key in self._prefix_set.of(path)]
        return found


def _reachable(entries: list[Entry], final: Sequence[bool]) -> list[Entry]:
    for number, (place, check) in enumerate(entries):
        if check is None and final[place]:
            return entries[: number + 1]
    return entries


def _shelve(place: int, match: RouteMatch, shelf: _Shelf) -> None:
    text = match.path.encode()
    if not match.case_sensitive:
        text = text.lower()
    entry: Entry = (place, None)
    match match.kind:
        case PathKind.EXACT:
            shelf.exact.setdefault(text, []).append(entry)
        case PathKind.PREFIX:
            shelf.prefixes.setdefault(text, []).append(entry)
        case PathKind.SEPARATED_PREFIX:
            shelf.exact.setdefault(text, []).append(entry)
            shelf.prefixes.setdefault(text + b"/", []).append(entry)
        case PathKind.CONNECT:
            shelf.prefixes.setdefault(b"", []).append(entry)
        case PathKind.REGEX:
            literals = literals_of(match.path)
            shelf.prefixes.setdefault(literals.prefix, []).append((place, _regex_check(match.path, literals.inside)))
        case PathKind.TEMPLATE:
            shelf.prefixes.setdefault(literal_prefix(match.path), []).append((place, _template_check(match.path)))


# A table may hold thousands of patterns of which few are ever asked: each is compiled when it is.


def _regex_check(pattern: str, inside: bytes) -> Check:
    matches: Check | None = None

    def check(path: bytes) -> bool:
        nonlocal matches
        if inside not in path:
            return False
        if matches is None:
            matches = compile_regex(pattern).matches
        return matches(path)

    return check


def _template_check(template: str) -> Check:
    matches: Check | None = None

    def check(path: bytes) -> bool:
        nonlocal matches
        if matches is None:
            matches = UriTemplate(template).matches
        return matches(path)

    return check
