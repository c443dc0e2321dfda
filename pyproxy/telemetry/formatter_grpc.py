"""The status of a gRPC call in formats: GRPC_STATUS and GRPC_STATUS_NUMBER. Other requests have none."""

from __future__ import annotations

from typing import Final

from pyproxy.config.format import Operator
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.formatter_expression import Expression, Kind, Scope, call

_GRPC_NAMES: Final = (
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
)
# What an HTTP status means where the upstream gave no grpc-status (gRPC: "HTTP to gRPC Status Code Mapping").
_GRPC_OF_STATUS: Final = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
_GRPC_UNKNOWN: Final = 2


def is_grpc(content_type: bytes | None) -> bool:
    return content_type is not None and (
        content_type == b"application/grpc" or content_type.startswith(b"application/grpc+")
    )


def grpc_code(request: Request, response: Response | None) -> int | None:
    """The status of a gRPC call from trailers, headers or HTTP status; -1 if that makes no sense; None without gRPC."""
    if not is_grpc(request.headers.get(b"content-type")):
        return None
    value = None
    for name, text_of_code in request.info.response_trailers or ():
        if name == b"grpc-status":
            value = text_of_code
    if value is None and response is not None:
        value = response.headers.get(b"grpc-status")
    if value is None:
        return _GRPC_OF_STATUS.get(request.info.status, _GRPC_UNKNOWN)
    return int(value) if value.isdigit() and len(value) < 10 else -1


def grpc_status(operator: Operator, scope: Scope) -> Expression:
    """`GRPC_STATUS(CAMEL_STRING|SNAKE_STRING|NUMBER)`."""
    if operator.argument == "NUMBER":
        return grpc_status_number(operator, scope)
    style = 1 if operator.argument == "SNAKE_STRING" else 0

    def name(request: Request, response: Response | None) -> str | None:
        code = grpc_code(request, response)
        if code is None:
            return None
        return _GRPC_NAMES[code][style] if 0 <= code < len(_GRPC_NAMES) else str(code)

    return call(scope, name)


def grpc_status_number(operator: Operator, scope: Scope) -> Expression:
    return call(scope, grpc_code, Kind.NUMBER)
