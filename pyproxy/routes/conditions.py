"""What a route asks of a request besides its path: headers, query parameters, a runtime fraction, gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from pyproxy.config.matchers import Fraction, QueryMatch
from pyproxy.config.route import PathKind, RouteMatch
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Request
from pyproxy.http.predicates import (
    BytesPredicate,
    RequestPredicate,
    all_of,
    build_header_predicate,
    build_string_predicate,
)
from pyproxy.routes.random_value import FRACTION_BITS, random_value


def build_condition(match: RouteMatch, values: RuntimeValues, rng: Random) -> RequestPredicate | None:
    """One predicate for everything but the path; None where the path alone decides."""
    if not (match.headers or match.query or match.fraction or match.grpc_only) and match.kind is not PathKind.CONNECT:
        return None
    return all_of(_conditions(match, values, rng))


def _conditions(match: RouteMatch, values: RuntimeValues, rng: Random) -> Iterator[RequestPredicate]:
    if match.kind is PathKind.CONNECT:
        yield lambda request: request.method == b"CONNECT"
    if match.grpc_only:
        yield _is_grpc
    for header in match.headers:
        yield build_header_predicate(header)
    if match.query:
        yield _query(match.query)
    if match.fraction is not None:
        yield _fraction(match.fraction, values, rng)


def _is_grpc(request: Request) -> bool:
    content_type = request.headers.get(b"content-type")
    return content_type is not None and (
        content_type == b"application/grpc" or content_type.startswith(b"application/grpc+")
    )


def _fraction(fraction: Fraction, values: RuntimeValues, rng: Random) -> RequestPredicate:
    size = 1 << FRACTION_BITS
    limit = round(values.share(fraction) * size)
    return lambda request: random_value(request, rng) & (size - 1) < limit


def _query(matches: tuple[QueryMatch, ...]) -> RequestPredicate:
    """Parameters as they stand, not decoded; the first of a name counts (Envoy: matchQueryParams)."""
    wanted: list[tuple[bytes, bool, BytesPredicate | None]] = [
        (one.name.encode(), one.present, None if one.string is None else build_string_predicate(one.string))
        for one in matches
    ]

    def fits(request: Request) -> bool:
        parameters = parse_query(request.path)
        for name, present, predicate in wanted:
            value = parameters.get(name)
            if predicate is None:
                if (value is not None) is not present:
                    return False
            elif value is None or not predicate(value):
                return False
        return True

    return fits


def parse_query(path: bytes) -> dict[bytes, bytes]:
    """The first value of every query parameter."""
    parameters: dict[bytes, bytes] = {}
    _, mark, query = path.partition(b"?")
    if mark:
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            parameters.setdefault(name, value)
    return parameters
