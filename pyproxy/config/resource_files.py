"""The messages of Envoy's API that a file holds, whatever its form.

It may be a bootstrap, have resources with `@type` anywhere in it (responses of control planes, config dumps), or be
resources without one, alone or in a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from pyproxy.config import json_tree, yaml_tree
from pyproxy.config.any_message import unpack_at
from pyproxy.config.descriptors import message_class
from pyproxy.config.fill import Filling
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.resources import URL_PREFIX
from pyproxy.config.well_known import packed_any

BOOTSTRAP: Final = "envoy.config.bootstrap.v3.Bootstrap"
_BARE: Final = (
    BOOTSTRAP,
    "envoy.config.listener.v3.Listener",
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
)
"""What a mapping without `@type` may be; the first whose fields it has."""
_DUMPS: Final = "envoy.admin."
"""Messages that hold others as they are shown to people."""
_JSON: Final = (".json", ".golden")
_HOLE: Final = re.compile(r"\{\{|\$\{?[A-Za-z_]")


class NotPlain(Exception):
    """A file that is neither YAML nor JSON, such as a template that is still to be filled in."""


@dataclass(frozen=True, slots=True)
class Found:
    """One message: its type, and its fields as plain values."""

    type_name: str
    fields: dict[str, Any]


def read_plain(path: Path) -> Any:
    """The values of a file. Raises NotPlain."""
    text = path.read_text("utf-8")
    try:
        if path.suffix in _JSON and text.lstrip()[:1] in ("{", "["):
            return json_tree.load(text, str(path))[0]
        root, _ = yaml_tree.compose(text, str(path))
        plainer = yaml_tree.Plainer(str(path))
        value = plainer.value(root) if root is not None else None
    except InvalidConfig as error:
        raise NotPlain("a template" if _HOLE.search(text) else str(error)) from None
    if plainer.faults:
        raise NotPlain("a template" if _HOLE.search(text) else str(plainer.faults[0]))
    return value


def messages_in(value: Any) -> Iterator[Found]:
    """All that a file holds; nothing where it holds no message."""
    typed = list(_typed(value))
    if _is_bare(value, BOOTSTRAP):
        yield Found(BOOTSTRAP, value)
    elif typed and not _bare_list(value):
        yield from typed
    else:
        for one in value if isinstance(value, list) else [value]:
            type_name = next((name for name in _BARE if _is_bare(one, name)), "")
            if type_name:
                yield Found(type_name, one)
            else:
                yield from _typed(one)


def _bare_list(value: Any) -> bool:
    """Resources without a type whose parts have one."""
    return any(_is_bare(one, name) for one in (value if isinstance(value, list) else [value]) for name in _BARE)


def _typed(value: Any) -> Iterator[Found]:
    """Every outermost mapping that says its type; of those that are dumps, what they hold."""
    if isinstance(value, dict):
        url = value.get("@type")
        if isinstance(url, str) and not url.removeprefix(URL_PREFIX).startswith(_DUMPS):
            yield Found(url.rpartition("/")[2], {name: one for name, one in value.items() if name != "@type"})
            return
        for inner in value.values():
            yield from _typed(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _typed(inner)


def _is_bare(value: Any, type_name: str) -> bool:
    """Whether all that stands at the top of a mapping are fields of a type, and enough of them to tell it."""
    if not isinstance(value, dict) or not value or "@type" in value:
        return False
    descriptor = message_class(type_name).DESCRIPTOR
    names = {name for field in descriptor.fields for name in (field.name, field.json_name)}
    return value.keys() <= names and bool(value.keys() & _TELLING[type_name])


_TELLING: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(words.split())
    for name, words in {
        _BARE[0]: "static_resources staticResources dynamic_resources dynamicResources admin node",
        _BARE[1]: "filter_chains filterChains default_filter_chain defaultFilterChain",
        _BARE[2]: """connect_timeout connectTimeout load_assignment loadAssignment eds_cluster_config edsClusterConfig
            lb_policy lbPolicy""",
        _BARE[3]: "virtual_hosts virtualHosts",
        _BARE[4]: "cluster_name clusterName",
        _BARE[5]: "tls_certificate tlsCertificate validation_context validationContext",
    }.items()
}
"""One of these has a mapping that is such a message: names and addresses have many."""


def filled(found: Found) -> Message:
    """The message. Raises InvalidConfig where it is not one."""
    packed = message_class("google.protobuf.Any")()
    filling = Filling()
    packed_any(filling, packed, {"@type": URL_PREFIX + found.type_name, **found.fields}, ())
    if filling.faults:
        raise InvalidConfig(filling.faults)
    return unpack_at(packed, ())
