"""Translates the requests and answers of a set of services. `Transcoder` is what is shared, `Call` is one of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf.message import DecodeError, Message

from pyproxy.transcoding import json_text
from pyproxy.transcoding.bindings import bind
from pyproxy.transcoding.error import BadDescriptors, TranscodingError, UnknownField
from pyproxy.transcoding.json_text import PrintOptions
from pyproxy.transcoding.methods import Descriptors, Method, Rule, find_field, is_raw
from pyproxy.transcoding.path_matcher import Binding, PathMatcher, Unescape
from pyproxy.transcoding.path_template import parse_template

_PRINTING = PrintOptions()


@dataclass(frozen=True, slots=True)
class TranscodeOptions:
    """What a `GrpcJsonTranscoder` says of how to translate."""

    services: tuple[str, ...] = ()
    printing: PrintOptions = _PRINTING
    ignored_query: frozenset[str] = frozenset()
    ignore_unknown_query: bool = False
    auto_mapping: bool = False
    unescape: Unescape = Unescape.NOT_RESERVED
    plus_is_space: bool = False
    any_verb: bool = False
    any_enum_case: bool = False
    reject_collisions: bool = False


@functools.lru_cache(maxsize=16)
def transcoder(data: bytes, options: TranscodeOptions) -> Transcoder:
    """`data` is a serialised FileDescriptorSet. Raises BadDescriptors."""
    return Transcoder(data, options)


class Transcoder:
    """Finds methods by requests."""

    def __init__(self, data: bytes, options: TranscodeOptions) -> None:
        self.options = options
        self.descriptors = Descriptors(data)
        self._matcher: PathMatcher[tuple[Method, Rule]] = PathMatcher(options.unescape, any_verb=options.any_verb)
        for service in options.services:
            for method, rules in self.descriptors.methods(service, auto=options.auto_mapping):
                for rule in rules:
                    self._add(method, rule)

    def begin(self, http_method: bytes, path: bytes) -> Call:
        """Raises TranscodingError (NOT_FOUND) or UnknownField."""
        where, _, query = path.partition(b"?")
        found = self._matcher.find(http_method.decode("latin-1"), where)
        if found is None:
            raise TranscodingError("NOT_FOUND", f"Could not resolve {where.decode('latin-1')} to a method.")
        (method, rule), bindings = found
        return Call(self, method, rule, [*bindings, *self._query(query)])

    def status_json(self, packed: bytes) -> bytes:
        """A serialised `google.rpc.Status` as JSON."""
        status: Any = self.descriptors.status_class()()
        try:
            status.ParseFromString(packed)
        except DecodeError as error:
            raise TranscodingError("INTERNAL", "the details of the status cannot be read") from error
        return json_text.to_json(status, self.options.printing, self.descriptors.pool)

    def pack_status(self, code: int, message: str) -> bytes:
        status: Any = self.descriptors.status_class()(code=code, message=message)
        packed: bytes = status.SerializeToString()
        return packed

    def _add(self, method: Method, rule: Rule) -> None:
        template = parse_template(rule.template)
        name = method.path.decode()
        for path in (*(variable.field for variable in template.variables), *((rule.body,) if rule.body else ())):
            if method.field_at(path) is None:
                raise BadDescriptors(f"{name}: {rule.template!r} names {'.'.join(path)!r}, which is no field")
        if rule.response_body:
            field = find_field(method.response.DESCRIPTOR, (rule.response_body,))
            if field is None or not is_raw(field.message_type):
                raise BadDescriptors(f"{name}: response_body is for fields of type google.api.HttpBody")
        if not self._matcher.add(rule.http_method, template, (method, rule)):
            raise BadDescriptors(f"{name}: another method has {rule.http_method} {rule.template}")

    def _query(self, query: bytes) -> list[Binding]:
        found: list[Binding] = []
        for pair in query.split(b"&"):
            name, sign, value = pair.partition(b"=")
            key = name.decode("utf-8", "replace")
            if not sign or not name or key in self.options.ignored_query:
                continue
            if self.options.plus_is_space:
                value = value.replace(b"+", b" ")
            found.append((tuple(key.split(".")), unquote_to_bytes(value).decode("utf-8", "replace")))
        return found


class Call:
    """One call: `bindings` are what its path and query set."""

    __slots__ = ("_bindings", "_shared", "method", "rule")

    def __init__(self, shared: Transcoder, method: Method, rule: Rule, bindings: list[Binding]) -> None:
        self._shared = shared
        self.method = method
        self.rule = rule
        self._bindings = bindings
        if shared.options.ignore_unknown_query:
            self._bindings = [one for one in bindings if method.field_at(one[0]) is not None]
        for path, _ in self._bindings:
            if method.field_at(path) is None:
                raise UnknownField(path, method.request_descriptor.full_name)

    @property
    def takes_raw(self) -> bool:
        """The body of the request goes into a `google.api.HttpBody` as it is."""
        if self.rule.whole:
            return is_raw(self.method.request_descriptor)
        field = self.method.field_at(self.rule.body) if self.rule.body else None
        return field is not None and is_raw(field.message_type)

    @property
    def gives_raw(self) -> bool:
        return self.method.answers_raw or bool(self.rule.response_body)

    def request(self, body: bytes, content_type: str, *, first: bool = True) -> bytes:
        """The message for the body of a request, or for one element of it. Raises TranscodingError."""
        message = self.method.request()
        if self.rule.whole or self.rule.body:
            self._fill(message, body, content_type)
        if first:
            self._bind(message)
        packed: bytes = message.SerializeToString()
        return packed

    def response(self, packed: bytes) -> bytes:
        """The JSON for a message. Raises TranscodingError."""
        return json_text.to_json(self._parsed(packed), self._shared.options.printing, self._shared.descriptors.pool)

    def raw_response(self, packed: bytes) -> tuple[str, bytes]:
        """(content type, data) of a message that holds them."""
        message: Any = self._parsed(packed)
        if self.rule.response_body:
            message = getattr(message, self.rule.response_body)
        return str(message.content_type), bytes(message.data)

    def _parsed(self, packed: bytes) -> Message:
        message = self.method.response()
        try:
            message.ParseFromString(packed)
        except DecodeError as error:
            raise TranscodingError("INTERNAL", "the answer is no message of its type") from error
        return message

    def _fill(self, message: Message, body: bytes, content_type: str) -> None:
        target: Any = message
        for name in self.rule.body if self.takes_raw else ():
            target = getattr(target, name)
        if self.takes_raw:
            target.SetInParent()
            target.content_type, target.data = content_type, body
            return
        pool, any_case = self._shared.descriptors.pool, self._shared.options.any_enum_case
        if not body.strip():
            field = self.method.field_at(self.rule.body) if self.rule.body else None
            if field is not None and field.message_type is not None and not field.is_repeated:
                for name in self.rule.body:
                    target = getattr(target, name)
                target.SetInParent()
            return
        value = json_text.parse(body)
        for name in reversed(self.rule.body):
            value = {name: value}
        json_text.into(message, value, pool, any_case=any_case)
        if self._shared.options.reject_collisions:
            self._check_collisions(message)

    def _check_collisions(self, message: Message) -> None:
        for path, _ in self._bindings:
            holder: Any = message
            for name in path[:-1]:
                holder = getattr(holder, name)
            field = find_field(holder.DESCRIPTOR, path[-1:])
            if field is not None and any(one.name == field.name for one, _ in holder.ListFields()):
                raise TranscodingError("INVALID_ARGUMENT", f"{'.'.join(path)} is set in the body and outside of it")

    def _bind(self, message: Message) -> None:
        for path, text in self._bindings:
            bind(message, path, text, any_case=self._shared.options.any_enum_case)
