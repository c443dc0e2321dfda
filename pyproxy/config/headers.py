"""Header changes as values (envoy.config.core.v3.HeaderValueOption)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pyproxy.config.format import Format


class AppendAction(Enum):
    """What happens when the header is there already."""

    APPEND_IF_EXISTS_OR_ADD = 0
    ADD_IF_ABSENT = 1
    OVERWRITE_IF_EXISTS_OR_ADD = 2
    OVERWRITE_IF_EXISTS = 3


@dataclass(frozen=True, slots=True)
class HeaderAdd:
    """One header to add. `name` is lower-case."""

    name: bytes
    value: Format
    action: AppendAction = AppendAction.APPEND_IF_EXISTS_OR_ADD
    keep_empty_value: bool = False


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """What one level (route, virtual host, table, weighted cluster) does to requests and responses."""

    request_add: tuple[HeaderAdd, ...] = ()
    request_remove: tuple[bytes, ...] = ()
    response_add: tuple[HeaderAdd, ...] = ()
    response_remove: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.request_add or self.request_remove or self.response_add or self.response_remove)


NO_CHANGES = HeaderChanges()
