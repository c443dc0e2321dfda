"""The messages of xDS, read and written: envoy.service.discovery.v3.

Nothing of a message outlives the reading of it: what is kept of a resource is its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError

from pyproxy.config.descriptors import UnknownType, class_of_url, message_class
from pyproxy.xds_client.subscription import Resource

_PACKAGE: Final = "envoy.service.discovery.v3."
_WRAPPER: Final = _PACKAGE + "Resource"
_URL: Final = "type.googleapis.com/"
_NAME_FIELDS: Final = {"envoy.config.endpoint.v3.ClusterLoadAssignment": "cluster_name"}
_INTERNAL: Final = 13  # google.rpc.Code
_NANOS: Final = 1e-9
_MOST_DETAIL: Final = 4096
"""Characters of a reason: gRPC implementations refuse messages that are much longer."""


class MalformedResponse(Exception):
    """What came is no response: the stream cannot be trusted any more."""


class RefusedResponse(Exception):
    """A response that can be read, and of which nothing can be used."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A resource stays as it is for another while (`ttl`, in seconds)."""

    name: str
    ttl_seconds: float


@dataclass(slots=True)
class Response:
    """A `DiscoveryResponse` or `DeltaDiscoveryResponse`. `control_plane` says who sent it."""

    type_url: str
    version: str
    nonce: str
    message: Any
    removed: tuple[str, ...]
    control_plane: str


def read_sotw(data: bytes) -> Response:
    """Raises MalformedResponse."""
    message = _parsed("DiscoveryResponse", data)
    return Response(
        message.type_url, message.version_info, message.nonce, message, (), message.control_plane.identifier
    )


def read_delta(data: bytes) -> Response:
    """Raises MalformedResponse."""
    message = _parsed("DeltaDiscoveryResponse", data)
    gone = (*message.removed_resources, *(one.name for one in message.removed_resource_names))
    removed = tuple(canonical(name) for name in gone)
    return Response(
        message.type_url,
        message.system_version_info,
        message.nonce,
        message,
        removed,
        message.control_plane.identifier,
    )


def sotw_resources(response: Response, known: Mapping[bytes, str]) -> list[Resource | Heartbeat]:
    """What a SotW response holds. Raises RefusedResponse where a resource is of another type or cannot be read.

    `known` are bodies that have been read before, and the names in them: reading is what costs.
    """
    found: list[Resource | Heartbeat] = []
    for packed in response.message.resources:
        name, version, ttl = "", response.version, None
        if packed.type_url.rpartition("/")[2] == _WRAPPER:
            wrapper = _unpacked(_URL + _WRAPPER, packed.value)
            name, version, ttl = wrapper.name, wrapper.version or version, _ttl(wrapper)
            if not wrapper.HasField("resource"):
                if ttl is not None:
                    found.append(Heartbeat(canonical(name), ttl))
                continue
            packed = wrapper.resource
        _check_type(packed.type_url, response)
        body = packed.value
        name = canonical(name or known.get(body) or name_of(response.type_url, body))
        found.append(Resource(name, version, body, ttl))
    return found


def delta_resources(response: Response, known: Mapping[bytes, str]) -> tuple[list[Resource | Heartbeat], list[str]]:
    """What a delta response holds, and the names of what does not exist. As `sotw_resources`."""
    found: list[Resource | Heartbeat] = []
    missing: list[str] = []
    for one in response.message.resources:
        name = canonical(one.name or one.resource_name.name)
        ttl = _ttl(one)
        if not one.HasField("resource"):
            if ttl is not None:
                found.append(Heartbeat(name, ttl))
            else:
                missing.extend(one.aliases or (name,))
            continue
        _check_type(one.resource.type_url, response)
        body = one.resource.value
        if body not in known:
            name_of(response.type_url, body)  # it must be readable
        found.append(Resource(name, one.version, body, ttl, tuple(one.aliases)))
    return found, missing


def canonical(name: str) -> str:
    """A name of `xdstp://` with its context parameters in order: those of the same content are the same name.

    https://github.com/cncf/xds/blob/main/proposals/TP1-xds-transport-next.md
    """
    if not name.startswith("xdstp://") or "?" not in name:
        return name
    head, _, rest = name.partition("?")
    query, mark, directives = rest.partition("#")
    return f"{head}?{'&'.join(sorted(query.split('&')))}{mark}{directives}"


def name_of(type_url: str, body: bytes) -> str:
    """The name that a resource gives itself. Raises RefusedResponse where the bytes are not of the type."""
    message = _unpacked(type_url, body)
    return str(getattr(message, _NAME_FIELDS.get(message.DESCRIPTOR.full_name, "name"), ""))


def sotw_request(type_url: str, node: Any, version: str, nonce: str, names: Iterable[str], refusal: str = "") -> bytes:
    """A `DiscoveryRequest`; `node` None where the stream has had it."""
    request: Any = message_class(_PACKAGE + "DiscoveryRequest")(
        type_url=type_url, version_info=version, response_nonce=nonce, resource_names=names, node=node
    )
    _add_refusal(request, refusal)
    return _bytes(request)


def delta_request(
    type_url: str,
    node: Any,
    *,
    nonce: str = "",
    subscribe: Iterable[str] = (),
    unsubscribe: Iterable[str] = (),
    versions: Mapping[str, str] | None = None,
    refusal: str = "",
) -> bytes:
    """A `DeltaDiscoveryRequest`."""
    request: Any = message_class(_PACKAGE + "DeltaDiscoveryRequest")(
        type_url=type_url,
        response_nonce=nonce,
        resource_names_subscribe=subscribe,
        resource_names_unsubscribe=unsubscribe,
        initial_resource_versions=versions,
        node=node,
    )
    _add_refusal(request, refusal)
    return _bytes(request)


def _add_refusal(request: Any, refusal: str) -> None:
    if refusal:
        request.error_detail.code = _INTERNAL
        request.error_detail.message = refusal[:_MOST_DETAIL]


def _bytes(message: Any) -> bytes:
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def _parsed(name: str, data: bytes) -> Any:
    try:
        return message_class(_PACKAGE + name).FromString(data)
    except DecodeError as error:
        raise MalformedResponse(f"{len(data)} bytes that are no {name}") from error


def _unpacked(type_url: str, body: bytes) -> Any:
    try:
        return class_of_url(type_url).FromString(body)
    except DecodeError:
        raise RefusedResponse(f"Unable to unpack as {type_url.rpartition('/')[2]}: {body[:32]!r}") from None
    except UnknownType as error:
        raise RefusedResponse(str(error)) from None


def _check_type(type_url: str, response: Response) -> None:
    if type_url != response.type_url:
        raise RefusedResponse(
            f"{type_url} does not match the message-wide type URL {response.type_url} "
            f"in the response of version {response.version!r}"
        )


def _ttl(message: Any) -> float | None:
    if not message.HasField("ttl"):
        return None
    return float(message.ttl.seconds + message.ttl.nanos * _NANOS)
