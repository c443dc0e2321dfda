"""The private pool of xDS v3 descriptors, and the message classes made from it.

The pool is private so that the xDS descriptors can never clash with other packages' copies of the same files.
"""

from __future__ import annotations

import difflib
import functools
from importlib import resources

from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from pyproxy.config.descriptor_files import DescriptorFiles
from pyproxy.config.istio_types import istio_files
from pyproxy.config.peak_ewma_type import peak_ewma_files

_OLD_VERSION = (".v2.", ".v2alpha.", "envoy.api.v2")


class UnknownType(Exception):
    """An Any whose type is not known, or whose bytes are not of that type."""

    def __init__(self, reason: str, expected: str = "", nearest: str = "") -> None:
        super().__init__(reason)
        self.expected = expected
        self.nearest = nearest


@functools.cache
def _files() -> DescriptorFiles:
    made = DescriptorFiles(resources.files("pyproxy.config").joinpath("xds.binpb").read_bytes())
    for file in (*istio_files(), *peak_ewma_files()):
        made.add(file)
    return made


@functools.cache
def pool() -> DescriptorPool:
    """The xDS v3 descriptors; each is loaded when it is asked for."""
    return DescriptorPool(_files())


@functools.cache
def message_class(full_name: str) -> type[Message]:
    """The class of a message by its full name. Raises KeyError where there is none."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))


def class_of_url(type_url: str) -> type[Message]:
    """The class that a type URL names. Raises UnknownType with the nearest known name."""
    full_name = type_url.rpartition("/")[2]
    try:
        return message_class(full_name)
    except KeyError:
        expected = "the type URL of an Envoy v3 message, such as type.googleapis.com/envoy.config..."
        if any(part in full_name for part in _OLD_VERSION):
            expected = "a v3 type (Envoy's v2 API is gone)"
        near = _nearest_type(full_name)
        raise UnknownType(
            f"unknown type {type_url!r}", expected, f"type.googleapis.com/{near}" if near else ""
        ) from None


@functools.cache
def _type_names() -> tuple[str, ...]:
    return tuple(f"{file.package}.{message.name}" for file in _files() for message in file.message_type)


def _nearest_type(full_name: str) -> str:
    """The same message name in another package comes first: extensions move more often than they are renamed."""
    names = _type_names()
    last = "." + full_name.rpartition(".")[2]
    namesakes = [name for name in names if name.endswith(last)]
    near = difflib.get_close_matches(full_name, namesakes, 1, 0.5) or difflib.get_close_matches(
        full_name, names, 1, 0.6
    )
    return near[0] if near else ""
