"""The methods of a user's services, with the HTTP rules that their descriptors give them (google.api.http)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from pyproxy.config import descriptors
from pyproxy.transcoding.error import BadDescriptors

_HTTP_BODY = "google.api.HttpBody"
_PATTERNS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class Rule:
    """One way of HTTP to a method. `body` and `response_body` are field paths; `whole` means that the body is all."""

    http_method: str
    template: str
    body: tuple[str, ...] = ()
    whole: bool = False
    response_body: str = ""


class Method:
    """One method: `path` as gRPC calls it, the classes of its messages, and which of them stream."""

    __slots__ = ("client_streaming", "path", "request", "request_descriptor", "response", "server_streaming")

    def __init__(self, service: str, descriptor: MethodDescriptor) -> None:
        self.path = f"/{service}/{descriptor.name}".encode()
        self.client_streaming = bool(descriptor.client_streaming)
        self.server_streaming = bool(descriptor.server_streaming)
        self.request_descriptor: Descriptor = descriptor.input_type
        self.request: type[Message] = message_factory.GetMessageClass(descriptor.input_type)
        self.response: type[Message] = message_factory.GetMessageClass(descriptor.output_type)

    @property
    def answers_raw(self) -> bool:
        """Its response is an HTTP body as it is."""
        return self.response.DESCRIPTOR.full_name == _HTTP_BODY

    def field_at(self, path: Iterable[str]) -> FieldDescriptor | None:
        """The field of the request; None where there is none. Names may be those of JSON."""
        return find_field(self.request_descriptor, tuple(path))


def is_raw(descriptor: Descriptor | None) -> bool:
    return descriptor is not None and descriptor.full_name == _HTTP_BODY


def find_field(message: Any, path: tuple[str, ...]) -> FieldDescriptor | None:
    found: FieldDescriptor | None = None
    for name in path:
        inside: Any = message if found is None else found.message_type
        if inside is None or (found is not None and found.is_repeated):
            return None
        found = inside.fields_by_name.get(name)
        if found is None:
            found = next((field for field in inside.fields if field.json_name == name), None)
        if found is None:
            return None
    return found


class Descriptors:
    """What is in a serialised `FileDescriptorSet`. Raises BadDescriptors."""

    def __init__(self, data: bytes) -> None:
        try:
            files = descriptor_pb2.FileDescriptorSet.FromString(data)
        except DecodeError as error:
            raise BadDescriptors("is no FileDescriptorSet") from error
        self.pool = DescriptorPool()
        self._services: dict[str, descriptor_pb2.ServiceDescriptorProto] = {}
        self._add({file.name: file for file in files.file})
        if "google.rpc.Status" not in self._known_messages():
            self._borrow("google.rpc.Status")

    def status_class(self) -> type[Message]:
        """`google.rpc.Status`, in which errors are told."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName("google.rpc.Status"))

    def methods(self, service: str, *, auto: bool) -> Iterator[tuple[Method, list[Rule]]]:
        """The methods of a service. `auto`: those without a rule get POST of what gRPC calls them."""
        proto = self._services.get(service)
        if proto is None:
            near = difflib.get_close_matches(service, self._services, 1, 0.5)
            raise BadDescriptors(f"the descriptors have no service {service!r}", "".join(near))
        found = self.pool.FindServiceByName(service)
        for one in proto.method:
            method = Method(service, found.methods_by_name[one.name])
            rules = list(_rules(one))
            if not rules and auto:
                rules = [Rule("POST", method.path.decode(), whole=True)]
            yield method, rules

    def _add(self, files: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
        """Imports first, whatever their order; well-known files that are missing are ours."""
        done: set[str] = set()

        def add(name: str, wanted_by: str) -> None:
            if name in done:
                return
            done.add(name)
            file = files.get(name) or _own_file(name)
            if file is None:
                raise BadDescriptors(f"{wanted_by} imports {name!r}, which is missing (protoc: --include_imports)")
            for dependency in file.dependency:
                add(dependency, name)
            try:
                self.pool.AddSerializedFile(file.SerializeToString())
            except TypeError as error:
                raise BadDescriptors(f"the file {name!r} is not valid: {error}") from error
            for service in file.service:
                self._services[f"{file.package}.{service.name}" if file.package else service.name] = service

        for name in files:
            add(name, "the set")
        self._files = done

    def _known_messages(self) -> set[str]:
        try:
            self.pool.FindMessageTypeByName("google.rpc.Status")
        except KeyError:
            return set()
        return {"google.rpc.Status"}

    def _borrow(self, message: str) -> None:
        """Add a file of ours, and what it imports."""

        def add(name: str) -> None:
            if name in self._files:
                return
            self._files.add(name)
            file = _own_file(name)
            assert file is not None, name
            for dependency in file.dependency:
                add(dependency)
            self.pool.AddSerializedFile(file.SerializeToString())

        add(descriptors.pool().FindMessageTypeByName(message).file.name)


def _own_file(name: str) -> descriptor_pb2.FileDescriptorProto | None:
    if not name.startswith("google/"):
        return None
    try:
        found = descriptors.pool().FindFileByName(name)
    except KeyError:
        return None
    made = descriptor_pb2.FileDescriptorProto()
    found.CopyToProto(made)
    return made


def _rules(method: descriptor_pb2.MethodDescriptorProto) -> Iterator[Rule]:
    """The rule of a method and its further bindings."""
    extension: Any = descriptors.pool().FindExtensionByName("google.api.http")
    # Read again by our pool: the user's copy of the extension is unknown to the class that the set was read with.
    options: Any = descriptors.message_class("google.protobuf.MethodOptions").FromString(
        method.options.SerializeToString()
    )
    if not options.HasExtension(extension):
        return
    rule = options.Extensions[extension]
    for one in (rule, *rule.additional_bindings):
        kind = one.WhichOneof("pattern")
        if kind in _PATTERNS:
            http_method, template = kind.upper(), getattr(one, kind)
        elif kind == "custom":
            http_method, template = one.custom.kind, one.custom.path
        else:
            continue
        whole = one.body == "*"
        path = tuple(one.body.split(".")) if one.body and not whole else ()
        yield Rule(http_method, template, path, whole, one.response_body)
