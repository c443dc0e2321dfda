"""Who may do what, as values (envoy.config.rbac.v3.RBAC).

The compile functions are in `compile.py` beside it; `engine.py` has the live one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from pyproxy.config.matchers import HeaderMatch, StringMatch
from pyproxy.filters.common.rbac.metadata_match import MetadataMatch

if TYPE_CHECKING:
    from pyproxy.filters.common.rbac.engine import RbacEngine


class Action(Enum):
    """What a policy that fits means. LOG lets everything pass, and says what fits in metadata."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    LOG = "LOG"


class AddressOf(Enum):
    """Whose address a rule is about; the value is its attribute in `ConnectionInfo`."""

    DESTINATION = "local"
    SOURCE = "peer"
    """The peer after PROXY protocol, whatever x-forwarded-for says."""
    DIRECT_REMOTE = "direct_remote"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class Anything:
    """Fits always."""


@dataclass(frozen=True, slots=True)
class AllOf:
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Not:
    rule: Rule


@dataclass(frozen=True, slots=True)
class HasHeader:
    match: HeaderMatch


@dataclass(frozen=True, slots=True)
class HasPath:
    """The path without its query."""

    match: StringMatch


@dataclass(frozen=True, slots=True)
class InNetwork:
    """The first `length` bits of an address of IP `version` are those of `first`, which is a number."""

    of: AddressOf
    version: int
    first: int
    length: int


@dataclass(frozen=True, slots=True)
class ToPort:
    """The destination port; `start` is included, `end` is not."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ToServer:
    """The name that the connection asked for by SNI; empty where it asked for none."""

    match: StringMatch


@dataclass(frozen=True, slots=True)
class HasMetadata:
    """Of the connection or request, or (`of_route`) of the route that was chosen."""

    match: MetadataMatch
    of_route: bool = False


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The peer has a certificate; with a `name`, one of its names is that."""

    name: StringMatch | None = None


Rule: TypeAlias = (
    Anything | AllOf | AnyOf | Not | HasHeader | HasPath | InNetwork | ToPort | ToServer | HasMetadata | Authenticated
)
"""A permission or a principal."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Fits where a permission and a principal do."""

    name: str
    permissions: tuple[Rule, ...]
    principals: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class RbacConfig:
    """`policies` are in the order of their names; the first that fits decides."""

    action: Action = Action.ALLOW
    policies: tuple[Policy, ...] = ()

    def build(self) -> RbacEngine:
        """The live rules; what they need is imported when the first are built."""
        from pyproxy.filters.common.rbac.engine import RbacEngine

        return RbacEngine(self)
