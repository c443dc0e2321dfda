"""Compiles where telemetry is sent to: protobuf -> `config.export` values."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View

_ENVIRONMENT: Final = "EnvironmentResourceDetectorConfig"
_STATIC: Final = "StaticConfigResourceDetectorConfig"
_DETECTORS: Final = "envoy.extensions.tracers.opentelemetry.resource_detectors.v3."


def compile_grpc_service(view: View, kind: ExportKind, context: CompileContext) -> ExportTarget:
    """A `GrpcService` that goes through a cluster."""
    if view.has("google_grpc"):
        view.fail("google_grpc", "Google's gRPC library is not used here", expected="envoy_grpc with a cluster_name")
    envoy = view.need("envoy_grpc")
    cluster = envoy.text("cluster_name")
    context.check_cluster(envoy, "cluster_name", cluster)
    envoy.ignore("skip_envoy_headers", "max_receive_message_length")  # no such headers are sent; replies are empty
    return ExportTarget(
        kind,
        cluster,
        authority=envoy.text("authority") or cluster,
        timeout=view.seconds("timeout") or 0.0,
        headers=tuple(_metadata(one) for one in view.children("initial_metadata")),
    )


def compile_http_service(view: View, kind: ExportKind, context: CompileContext) -> ExportTarget:
    """An `HttpService`: the URL says authority and path, the cluster where to connect."""
    uri = view.need("http_uri")
    cluster = uri.text("cluster")
    context.check_cluster(uri, "cluster", cluster)
    text = uri.text("uri")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        uri.fail("uri", f"{text!r} is no URL", expected="http://authority/path")
    path = parts.path or "/"
    return ExportTarget(
        kind,
        cluster,
        authority=parts.netloc,
        path=f"{path}?{parts.query}" if parts.query else path,
        timeout=uri.seconds("timeout") or 0.0,
        headers=view.each("request_headers_to_add", _header),
    )


def compile_resource_attributes(view: View) -> tuple[tuple[str, str], ...]:
    """`resource_detectors`. That of the environment is always at work (see `server.exporting.resource`)."""
    found: dict[str, str] = {}
    for detector in view.children("resource_detectors"):
        detector.ignore("name")
        typed = detector.any("typed_config")
        kind = "" if typed is None else typed.type_name.removeprefix(_DETECTORS)
        if typed is None or kind not in (_ENVIRONMENT, _STATIC):
            expected = f"{_ENVIRONMENT} or {_STATIC}"
            detector.fail("typed_config", f"resource detectors of type {kind!r} are not supported", expected=expected)
        if kind == _STATIC:
            found |= {str(key): str(value) for key, value in typed.strings("attributes").items()}
    return tuple(found.items())


def _metadata(view: View) -> tuple[str, str]:
    if view.message.raw_value:  # type: ignore[attr-defined]
        view.fail("raw_value", "is not supported here", expected="value")
    name = view.text("key").lower()
    if name.startswith(":") or name == "host":
        view.fail("key", f"{name!r} is not for metadata", expected="the authority field")
    return name, _literal(view)


def _header(view: View) -> tuple[str, str]:
    header = view.need("header")
    view.ignore("append", "append_action", "keep_empty_value")  # it is the only one of its name
    return header.text("key").lower(), _literal(header)


def _literal(view: View) -> str:
    value = view.text("value")
    if "%" in value.replace("%%", ""):
        view.fail("value", "operators mean nothing here: there is no request", expected="a text without %")
    return value.replace("%%", "%")
