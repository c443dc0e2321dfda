"""What a control plane tells, and who is told: the seam between how resources arrive and who applies them.

A source (`ConfigSource`) knows a protocol and a transport; a sink (`ResourceSink`) knows one type of resources.
Nothing here is protobuf: bodies are the bytes of the resource itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

WILDCARD: Final = "*"
"""The name that stands for every resource of a type."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource. `body` is the serialised message (`Any.value`); its type is that of the subscription."""

    name: str
    version: str
    body: bytes
    ttl_seconds: float | None = None
    aliases: tuple[str, ...] = ()
    """Other names under which it was asked for (VHDS)."""


@dataclass(frozen=True, slots=True)
class Update:
    """What one response changed: `added` is new or has other bytes than before, `removed` is gone.

    With `state_of_the_world` whatever is not in `added` is gone as well. Sources that speak to a control plane
    compare themselves and always tell differences, also where the protocol is SotW: they never set it.
    """

    type_url: str
    version: str
    added: tuple[Resource, ...]
    removed: tuple[str, ...]
    state_of_the_world: bool


class ResourceSink(Protocol):
    """What applies the resources of one type."""

    def on_update(self, update: Update) -> Mapping[str, str]:
        """Apply; gives the reason for each resource, by name, that was refused (empty: all accepted). Never raises."""
        ...

    def on_missing(self, name: str) -> None:
        """The source has no such resource, or did not send it within initial_fetch_timeout."""
        ...


class Subscription(Protocol):
    """One type from one source."""

    def watch(self, names: Iterable[str]) -> None:
        """Replace the set of names; {"*"} is every resource there is."""
        ...

    def close(self) -> None:
        """No further calls to the sink."""
        ...


class ConfigSource(Protocol):
    """Where resources come from: a control plane, a file."""

    def subscribe(self, type_url: str, sink: ResourceSink, names: Iterable[str]) -> Subscription:
        """Begin to watch names of one type."""
        ...
