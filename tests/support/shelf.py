"""A service for tests of transcoding, `t.Library`, as a descriptor set, and its messages."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

from pyproxy.config import descriptors

F = descriptor_pb2.FieldDescriptorProto
SERVICE = "t.Library"

# message -> fields: (name, type or name of a message or an enum, repeated)
_MESSAGES: dict[str, list[tuple[str, int | str, bool]]] = {
    "Book": [
        ("id", F.TYPE_INT64, False),
        ("title", F.TYPE_STRING, False),
        ("author_name", F.TYPE_STRING, False),
        ("kind", ".t.Kind", False),
        ("tags", F.TYPE_STRING, True),
        ("price", F.TYPE_DOUBLE, False),
        ("sold", F.TYPE_BOOL, False),
        ("cover", F.TYPE_BYTES, False),
        ("part_of", ".t.Book", False),
        ("pages", F.TYPE_UINT32, True),
        ("since", ".google.protobuf.Timestamp", False),
        ("weight", ".google.protobuf.FloatValue", False),
        ("lasts", ".google.protobuf.Duration", False),
        ("more", ".google.protobuf.Struct", False),
    ],
    "GetRequest": [
        ("shelf", F.TYPE_STRING, False),
        ("book", ".t.Book", False),
        ("count", F.TYPE_INT32, False),
        ("page_token", F.TYPE_STRING, False),
        ("books", ".t.Book", True),
    ],
    "Upload": [("name", F.TYPE_STRING, False), ("content", ".google.api.HttpBody", False)],
}

# name, request, response, client streams, server streams, rule
_METHODS: list[tuple[str, str, str, bool, bool, dict[str, Any] | None]] = [
    ("Get", "GetRequest", "Book", False, False, {"get": "/v1/shelves/{shelf}/books/{book.id}"}),
    ("Find", "GetRequest", "Book", False, False, {"get": "/v1/find/{shelf=**}"}),
    (
        "Put",
        "GetRequest",
        "Book",
        False,
        False,
        {
            "put": "/v1/shelves/{shelf}",
            "body": "book",
            "additional_bindings": [
                {"post": "/v1/shelves/{shelf=a/*}:put", "body": "*"},
                {"custom": {"kind": "MOVE", "path": "/v1/move/{shelf}"}, "body": "*"},
            ],
        },
    ),
    ("PutAll", "GetRequest", "Book", False, False, {"post": "/v1/all/{shelf}", "body": "books"}),
    ("Echo", "Book", "Book", False, False, {"post": "/v1/echo", "body": "*"}),
    ("Fetch", "Upload", "Upload", False, False, {"get": "/v1/fetch/{name}", "response_body": "content"}),
    ("List", "GetRequest", "Book", False, True, {"get": "/v1/list"}),
    ("Collect", "Book", "Book", True, False, {"post": "/v1/collect", "body": "*"}),
    ("Chat", "Book", "Book", True, True, {"post": "/v1/chat/{title}", "body": "*"}),
    ("Raw", ".google.api.HttpBody", ".google.api.HttpBody", False, False, {"post": "/v1/raw", "body": "*"}),
    ("Store", "Upload", "Upload", False, False, {"post": "/v1/store/{name}", "body": "content"}),
    ("RawList", "GetRequest", ".google.api.HttpBody", False, True, {"get": "/v1/rawlist"}),
    ("Hidden", "Book", "Book", False, False, None),
]


def _http_body() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="google/api/httpbody.proto",
        package="google.api",
        syntax="proto3",
        dependency=["google/protobuf/any.proto"],
    )
    message = file.message_type.add(name="HttpBody")
    message.field.add(name="content_type", number=1, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL)
    message.field.add(name="data", number=2, type=F.TYPE_BYTES, label=F.LABEL_OPTIONAL)
    message.field.add(
        name="extensions", number=3, type=F.TYPE_MESSAGE, type_name=".google.protobuf.Any", label=F.LABEL_REPEATED
    )
    return file


_IMPORTS = [f"google/protobuf/{name}.proto" for name in ("timestamp", "wrappers", "duration", "struct")]


def _library() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="t/library.proto",
        package="t",
        syntax="proto3",
        dependency=[*_IMPORTS, "google/api/annotations.proto", "google/api/httpbody.proto"],
    )
    kind = file.enum_type.add(name="Kind")
    for number, name in enumerate(("UNKNOWN", "NOVEL", "POEM")):
        kind.value.add(name=name, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, what, repeated) in enumerate(fields, 1):
            made = message.field.add(name=field, number=number)
            made.label = F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL
            if isinstance(what, str):
                made.type = F.TYPE_ENUM if what == ".t.Kind" else F.TYPE_MESSAGE
                made.type_name = what
            else:
                made.type = what  # type: ignore[assignment]
    service = file.service.add(name="Library")
    options: Any = descriptors.message_class("google.protobuf.MethodOptions")
    extension: Any = descriptors.pool().FindExtensionByName("google.api.http")
    for name, request, response, client, server, rule in _METHODS:
        method = service.method.add(name=name, client_streaming=client, server_streaming=server)
        method.input_type = request if request.startswith(".") else f".t.{request}"
        method.output_type = response if response.startswith(".") else f".t.{response}"
        if rule is not None:
            made_options = options()
            _fill(made_options.Extensions[extension], rule)
            method.options.ParseFromString(made_options.SerializeToString())
    return file


def _fill(rule: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if key == "additional_bindings":
            for one in value:
                _fill(rule.additional_bindings.add(), one)
        elif key == "custom":
            rule.custom.kind, rule.custom.path = value["kind"], value["path"]
        else:
            setattr(rule, key, value)


def descriptor_set() -> bytes:
    """With everything that it imports."""
    made = descriptor_pb2.FileDescriptorSet()
    for name in (
        "google/protobuf/any.proto",
        *_IMPORTS,
        "google/protobuf/descriptor.proto",
        "google/api/http.proto",
        "google/api/annotations.proto",
    ):
        descriptors.pool().FindFileByName(name).CopyToProto(made.file.add())
    made.file.add().CopyFrom(_http_body())
    made.file.add().CopyFrom(_library())
    return made.SerializeToString()


def message_classes(*names: str) -> list[Any]:
    """The classes of messages such as `Book`, `GetRequest`, `Upload` or `google.api.HttpBody`."""
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file:
        pool.AddSerializedFile(file.SerializeToString())
    found = [pool.FindMessageTypeByName(name if "." in name else f"t.{name}") for name in names]
    return [message_factory.GetMessageClass(one) for one in found]
