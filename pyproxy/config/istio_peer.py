"""Who the other side of a request is, as Istio's proxies tell each other in headers, and as they know it of endpoints.

`x-envoy-peer-metadata` holds a `google.protobuf.Struct` in base64. A mesh has few workloads, so what was read is kept.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from google.protobuf.message import DecodeError

from pyproxy.config import any_message
from pyproxy.config.descriptors import message_class

HEADER: Final = b"x-envoy-peer-metadata"
ID_HEADER: Final = b"x-envoy-peer-metadata-id"
_STRUCT: Final = "google.protobuf.Struct"
_MOST_BYTES: Final = 16 * 1024
_CANONICAL_NAME: Final = "service.istio.io/canonical-name"
_CANONICAL_REVISION: Final = "service.istio.io/canonical-revision"
_PARTS: Final = 5


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload of a mesh; what is not known is empty."""

    name: str = ""
    namespace: str = ""
    canonical_name: str = ""
    canonical_revision: str = ""
    app: str = ""
    version: str = ""
    cluster: str = ""
    instance: str = ""

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any]) -> Workload:
        """Of the metadata of a node, which is what peers send too."""
        labels = metadata.get("LABELS")
        labels = labels if isinstance(labels, Mapping) else {}
        return cls(
            name=_text(metadata, "WORKLOAD_NAME"),
            namespace=_text(metadata, "NAMESPACE"),
            canonical_name=_text(labels, _CANONICAL_NAME),
            canonical_revision=_text(labels, _CANONICAL_REVISION),
            app=_text(labels, "app"),
            version=_text(labels, "version"),
            cluster=_text(metadata, "CLUSTER_ID"),
            instance=_text(metadata, "NAME"),
        )

    @classmethod
    def of_endpoint(cls, metadata: Mapping[str, Any] | None) -> Workload | None:
        """Of the metadata of a host: `istio: {workload: name;namespace;canonical name;revision;cluster}`."""
        istio = None if metadata is None else metadata.get("istio")
        text = istio.get("workload") if isinstance(istio, Mapping) else None
        parts = text.split(";") if isinstance(text, str) else ()
        if len(parts) < _PARTS:
            return None
        return cls(parts[0], parts[1], parts[2], parts[3], cluster=parts[4])

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}"


def encode_peer(metadata: Mapping[str, Any], more: tuple[str, ...] = ()) -> bytes:
    """The header that tells who we are. `more`: labels to tell beside the usual ones."""
    labels = metadata.get("LABELS")
    told = {
        key: metadata[key] for key in ("NAME", "NAMESPACE", "OWNER", "WORKLOAD_NAME", "CLUSTER_ID") if key in metadata
    }
    if isinstance(labels, Mapping):
        wanted = {_CANONICAL_NAME, _CANONICAL_REVISION, "app", "version", *more}
        told["LABELS"] = {key: value for key, value in labels.items() if key in wanted}
    struct: Any = message_class(_STRUCT)()
    struct.update(told)
    return base64.b64encode(struct.SerializeToString(deterministic=True))


@lru_cache(maxsize=2048)
def decode_peer(value: bytes) -> Workload | None:
    """What a header tells; None where it cannot be read."""
    if len(value) > _MOST_BYTES:
        return None
    try:
        struct = message_class(_STRUCT).FromString(base64.b64decode(value, validate=True))
        return Workload.of_metadata(any_message.plain_struct(struct))
    except (binascii.Error, DecodeError, ValueError):
        return None


def _text(values: Mapping[str, Any], key: str) -> str:
    found = values.get(key)
    return found if isinstance(found, str) else ""
