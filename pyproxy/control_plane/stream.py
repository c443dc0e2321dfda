"""One stream of a proxy, seen from the control plane: what it was sent, what it accepted, what it is to be sent now.

No I/O. SotW and delta are the same to the caller: `hear` takes a request, `due` gives responses.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pyproxy.config.descriptors import message_class
from pyproxy.control_plane.resources import TYPES, Resources

_DISCOVERY: Final = "envoy.service.discovery.v3."
SOTW_REQUEST: Final = _DISCOVERY + "DiscoveryRequest"
SOTW_RESPONSE: Final = _DISCOVERY + "DiscoveryResponse"
DELTA_REQUEST: Final = _DISCOVERY + "DeltaDiscoveryRequest"
DELTA_RESPONSE: Final = _DISCOVERY + "DeltaDiscoveryResponse"
IDENTIFIER: Final = "pyproxy control-plane"
_NOT_FOR_ALL: Final = frozenset(TYPES[2:3] + TYPES[4:] + TYPES[:1])
"""Endpoints, routes and secrets are always asked for by name."""


@dataclass(slots=True)
class TypeProgress:
    """How far a proxy is with one type. `names` None means all; `versions` are what it has been sent, by name."""

    names: set[str] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    nonce: str = ""
    answered: bool = True
    """There is nothing that it was sent and has not answered."""
    asked: bool = True
    """It waits for a response, whatever that is."""
    accepted: str = ""
    refusal: str = ""
    """What it said of the last response, if it did not like it."""


class ServedStream(ABC):
    """The first request says who it is."""

    def __init__(self) -> None:
        self.node: Any = None
        self.types: dict[str, TypeProgress] = {}
        self._count = 0

    def hear(self, request: Any) -> None:
        """A request: the answer to a response, or a change of what is wanted."""
        if request.HasField("node"):
            self.node = request.node
        known = self.types.get(request.type_url)
        if known is None:
            known = self.types[request.type_url] = TypeProgress()
            self._subscribe(known, request, first=True)
            return
        if request.response_nonce and request.response_nonce == known.nonce:
            known.answered = True
            known.refusal = request.error_detail.message if request.HasField("error_detail") else ""
            self._accept(known, request)
        elif request.response_nonce:
            return  # it has not seen the last response yet
        self._subscribe(known, request, first=False)

    def due(self, resources: Resources) -> list[Any]:
        """The responses that bring the proxy up to date, in order. A type that is not answered yet waits."""
        found: list[Any] = []
        for type_url in self._in_order():
            progress = self.types[type_url]
            if not progress.answered:
                continue
            response = self._response(type_url, progress, resources.get(type_url, {}))
            if response is not None:
                self._count += 1
                progress.nonce = response.nonce = f"{self._count:x}"
                progress.answered = progress.asked = False
                response.type_url = type_url
                response.control_plane.identifier = IDENTIFIER
                found.append(response)
        return found

    def _in_order(self) -> Iterable[str]:
        return sorted(self.types, key=lambda one: TYPES.index(one) if one in TYPES else len(TYPES))

    def _wanted(self, type_url: str, progress: TypeProgress, all_of_them: dict[str, bytes]) -> dict[str, bytes]:
        if progress.names is None:
            return {} if type_url in _NOT_FOR_ALL else all_of_them
        return {name: body for name, body in all_of_them.items() if name in progress.names}

    @abstractmethod
    def _subscribe(self, progress: TypeProgress, request: Any, *, first: bool) -> None: ...

    @abstractmethod
    def _accept(self, progress: TypeProgress, request: Any) -> None: ...

    @abstractmethod
    def _response(self, type_url: str, progress: TypeProgress, all_of_them: dict[str, bytes]) -> Any: ...


class SotwServed(ServedStream):
    """Everything is sent whenever something has changed."""

    def _subscribe(self, progress: TypeProgress, request: Any, *, first: bool) -> None:
        names = set(request.resource_names)
        wanted = None if (first and not names) or "*" in names or (progress.names is None and not names) else names
        if wanted is not None and progress.names is not None and wanted - progress.names:
            progress.asked = True  # it waits for those, also if they do not exist
        progress.names = wanted

    def _accept(self, progress: TypeProgress, request: Any) -> None:
        progress.accepted = request.version_info

    def _response(self, type_url: str, progress: TypeProgress, all_of_them: dict[str, bytes]) -> Any:
        wanted = self._wanted(type_url, progress, all_of_them)
        versions = {name: version_of(body) for name, body in wanted.items()}
        if versions == progress.versions and not progress.asked:
            return None
        progress.versions = versions
        response: Any = message_class(SOTW_RESPONSE)(version_info=version_of(repr(sorted(versions.items())).encode()))
        for body in wanted.values():
            response.resources.add(type_url=type_url, value=body)
        return response


class DeltaServed(ServedStream):
    """What has changed is sent."""

    def _subscribe(self, progress: TypeProgress, request: Any, *, first: bool) -> None:
        added, removed = set(request.resource_names_subscribe), set(request.resource_names_unsubscribe)
        if first:
            progress.names = None if not added or "*" in added else added
            progress.versions = dict(request.initial_resource_versions)
            return
        if progress.names is not None:
            progress.names = (progress.names | added) - removed
        for name in added | removed:
            progress.versions.pop(name, None)  # who asks again is told again
        progress.asked = progress.asked or bool(added)

    def _accept(self, progress: TypeProgress, request: Any) -> None:
        if not progress.refusal:
            progress.accepted = progress.nonce

    def _response(self, type_url: str, progress: TypeProgress, all_of_them: dict[str, bytes]) -> Any:
        wanted = self._wanted(type_url, progress, all_of_them)
        versions = {name: version_of(body) for name, body in wanted.items()}
        changed = [name for name, version in versions.items() if progress.versions.get(name) != version]
        gone = [name for name in progress.versions if name not in versions]
        missing = [name for name in progress.names or () if name not in versions] if progress.asked else []
        if not changed and not gone and not progress.asked:
            return None
        progress.versions = versions
        version = version_of(repr(sorted(versions.items())).encode())
        response: Any = message_class(DELTA_RESPONSE)(system_version_info=version)
        for name in changed:
            one = response.resources.add(name=name, version=versions[name])
            one.resource.type_url, one.resource.value = type_url, wanted[name]
        response.removed_resources.extend(dict.fromkeys((*gone, *missing)))
        return response


def version_of(body: bytes) -> str:
    """The same content is the same version, also after a restart."""
    return hashlib.sha256(body).hexdigest()[:12]
