"""What cannot be translated, in gRPC's words."""

from __future__ import annotations


class TranscodingError(Exception):
    """`code` is the name of a gRPC status (`INVALID_ARGUMENT`)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class UnknownField(TranscodingError):
    """A query names a field that the request does not have."""

    def __init__(self, path: tuple[str, ...], message: str) -> None:
        super().__init__("INVALID_ARGUMENT", f'Could not find field "{path[-1]}" in the type "{message}".')


class BadDescriptors(Exception):
    """What a configuration says of services cannot be used. `nearest` is a name that there is."""

    def __init__(self, reason: str, nearest: str = "") -> None:
        super().__init__(reason)
        self.nearest = nearest
