"""Protobuf enums as the enums of our values."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from pyproxy.config.view import View

E = TypeVar("E", bound=Enum)


def compile_enum(view: View, name: str, kind: type[E]) -> E:
    """The member that has the name of the protobuf value. Raises InvalidConfig for one that we do not have."""
    value = view.enum(name)
    member = kind.__members__.get(value)
    if member is None:
        view.fail(name, f"{value} is not supported yet", expected=f"one of {', '.join(kind.__members__)}")
    return member
