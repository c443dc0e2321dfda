"""Compiles a gRPC peer: protobuf -> `config.config_source` values. Envoy: envoy.config.core.v3.GrpcService."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from pyproxy.config.config_source import BackOffConfig, CallCredential, GoogleGrpcConfig, GrpcServiceConfig
from pyproxy.config.data_source import read_data_source
from pyproxy.config.extensions import CompileContext
from pyproxy.config.matchers import StringKind, StringMatch
from pyproxy.config.tls import PeerValidation, SanMatch, TlsCertificate, TlsConfig, UpstreamTlsConfig
from pyproxy.config.view import View

_FILE_CREDENTIALS: Final = "envoy.config.grpc_credential.v3.FileBasedMetadataConfig"
_SYSTEM_ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"
_LOCAL: Final = re.compile(r"unix:|localhost:|127\.|\[::1\]")
_PING: Final = "grpc.keepalive_time_ms"
_PING_TIMEOUT: Final = "grpc.keepalive_timeout_ms"
_PING_TIMEOUT_DEFAULT: Final = 20.0
_LONGEST_MESSAGE: Final = "grpc.max_receive_message_length"
_MEANINGLESS: Final = frozenset(("grpc.http2.max_pings_without_data", "grpc.keepalive_permit_without_calls"))
"""Pings are always sent while there is a stream, and there always is one."""


def compile_grpc_service(view: View, context: CompileContext) -> GrpcServiceConfig:
    """A `GrpcService`: a cluster of the bootstrap, or an address of its own."""
    timeout = view.seconds("timeout")
    view.ignore("retry_policy")  # what is asked once and answered once is tried again by whoever asks
    metadata = tuple(_header(one) for one in view.children("initial_metadata"))
    if view.oneof("target_specifier") == "google_grpc":
        google = view.need("google_grpc")
        longest, keepalive = _channel_arguments(google)
        return GrpcServiceConfig(
            google=_google(google, keepalive),
            timeout=timeout,
            metadata=metadata,
            max_receive_message_length=longest,
        )
    envoy = view.need("envoy_grpc")
    envoy.ignore("skip_envoy_headers")  # none are sent
    cluster = envoy.text("cluster_name")
    context.check_cluster(envoy, "cluster_name", cluster)
    return GrpcServiceConfig(
        cluster=cluster,
        authority=envoy.text("authority"),
        timeout=timeout,
        metadata=metadata,
        back_off=_back_off(envoy),
        max_receive_message_length=envoy.wrapped("max_receive_message_length"),
    )


def _back_off(view: View) -> BackOffConfig:
    """Of reconnecting; `retry_policy` of an `EnvoyGrpc` says nothing else."""
    policy = view.child("retry_policy")
    found = None if policy is None else policy.child("retry_back_off")
    if found is None:
        return BackOffConfig()
    base = found.seconds("base_interval") or BackOffConfig().base
    most = found.seconds("max_interval")
    if most is not None and most < base:
        found.fail("max_interval", "is below the base_interval")
    return BackOffConfig(base, base * 10 if most is None else most)


def _header(view: View) -> tuple[str, str | bytes]:
    name, raw = view.text("key").lower(), view.scalar("raw_value")
    if raw:
        return name, bytes(raw) if name.endswith("-bin") else bytes(raw).decode("latin-1")
    value = view.text("value")
    if "%" in value.replace("%%", ""):
        view.fail("value", "commands in metadata of gRPC are not supported", expected="a plain text, with % as %%")
    return name, value.replace("%%", "%")


def _google(view: View, keepalive: tuple[float, float] | None) -> GoogleGrpcConfig:
    view.ignore("stat_prefix", "credentials_factory_name", "per_stream_buffer_limit_bytes")
    target = view.text("target_uri")
    tls = _channel_credentials(view, target)
    credentials = tuple(_call_credential(one) for one in view.children("call_credentials"))
    if credentials and tls is None and not _LOCAL.match(target) and not _says_local(view):
        view.fail("call_credentials", "a token would travel in plain text", expected="channel_credentials")
    return GoogleGrpcConfig(target, tls, credentials, keepalive)


def _says_local(view: View) -> bool:
    credentials = view.child("channel_credentials")
    return credentials is not None and credentials.oneof("credential_specifier") == "local_credentials"


def _channel_credentials(view: View, target: str) -> UpstreamTlsConfig | None:
    credentials = view.child("channel_credentials")
    if credentials is None:
        return None
    kind = credentials.oneof("credential_specifier")
    certificates: tuple[TlsCertificate, ...] = ()
    roots = b""
    if kind == "local_credentials":
        credentials.need(kind)
        return None
    if kind == "ssl_credentials":
        ssl = credentials.need(kind)
        chain, key, trusted = (ssl.child(name) for name in ("cert_chain", "private_key", "root_certs"))
        if (chain is None) != (key is None):
            ssl.fail("", "cert_chain and private_key need each other")
        if chain is not None and key is not None:
            certificates = (TlsCertificate(read_data_source(chain), read_data_source(key)),)
        roots = b"" if trusted is None else read_data_source(trusted)
    elif kind == "google_default":
        credentials.need(kind)
    else:
        credentials.fail("", "says nothing", expected="ssl_credentials, google_default or local_credentials")
    name = _host(target)
    kind, sni = ("IP_ADDRESS", "") if _is_address(name) else ("DNS", name)
    validation = PeerValidation(
        trusted_ca=(roots or _system_roots(credentials)).decode("utf-8", "surrogateescape"),
        # gRPC compares the name, other than a cluster of Envoy.
        sans=(SanMatch(kind, StringMatch(StringKind.EXACT, name)),),
    )
    return UpstreamTlsConfig(TlsConfig(certificates=certificates, validation=validation, alpn=("h2",)), sni=sni)


def _system_roots(view: View) -> bytes:
    try:
        with open(_SYSTEM_ROOTS, "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError as error:
        view.fail("", f"the roots of the system, {_SYSTEM_ROOTS}, cannot be read: {error.strerror}")


def _host(target: str) -> str:
    """The name in `host:port`, `dns:///host:port`."""
    name = target.rpartition("/")[2].rpartition(":")[0]
    return name.removeprefix("[").removesuffix("]")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _call_credential(view: View) -> CallCredential:
    kind = view.oneof("credential_specifier")
    if kind == "access_token":
        return CallCredential(prefix="Bearer ", token=view.text(kind))
    if kind != "from_plugin":
        view.fail(kind or "", "is not supported", expected="access_token, or from_plugin with a file")
    plugin = view.need(kind)
    plugin.ignore("name")
    typed = plugin.any("typed_config")
    if typed is None or typed.type_name != _FILE_CREDENTIALS:
        what = "nothing" if typed is None else typed.type_name
        plugin.fail("typed_config", f"credentials by {what} are not supported", expected=_FILE_CREDENTIALS)
    secret = typed.need("secret_data")
    header, prefix = typed.text("header_key") or "authorization", typed.text("header_prefix")
    if secret.oneof("specifier") == "filename":
        secret.ignore("watched_directory")  # it is read for each stream
        return CallCredential(header.lower(), prefix, file=secret.text("filename"))
    return CallCredential(header.lower(), prefix, read_data_source(secret).decode("latin-1"))


def _channel_arguments(view: View) -> tuple[int | None, tuple[float, float] | None]:
    """The longest message, and the keep-alive, in seconds; what else there may be is gRPC core's own machinery."""
    found = view.child("channel_args")
    if found is None:
        return None, None
    numbers: dict[str, int] = {}
    for name, argument in found.entries("args").items():
        if name in (_PING, _PING_TIMEOUT, _LONGEST_MESSAGE):
            numbers[name] = int(argument.scalar("int_value"))
        elif name in _MEANINGLESS:
            argument.honour_all()
    ping = numbers.get(_PING)
    patience = numbers.get(_PING_TIMEOUT, _PING_TIMEOUT_DEFAULT * 1000) / 1000
    return numbers.get(_LONGEST_MESSAGE), None if not ping else (ping / 1000, patience)
