"""Secrets that a TLS context names (Envoy: SDS): in a file, in the bootstrap, or with a control plane."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pyproxy.config.any_message import unpack_at
from pyproxy.config.config_source import slot_of
from pyproxy.config.descriptors import message_class
from pyproxy.config.extensions import CompileContext, Extensions
from pyproxy.config.load import load_message
from pyproxy.config.tls import SecretRef
from pyproxy.config.view import View

_RESPONSE: Final = "envoy.service.discovery.v3.DiscoveryResponse"
_SECRET: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"


@dataclass(slots=True)
class TlsInputs:
    """What beside its message goes into a TLS context. `pending`: some of the secrets are not here."""

    files: list[str] = field(default_factory=list)
    secrets: list[SecretRef] = field(default_factory=list)
    static_secrets: dict[str, bytes] = field(default_factory=dict)
    pending: bool = False


def read_secret(view: View, kind: str, inputs: TlsInputs) -> View | None:
    """What an `SdsSecretConfig` names: its `tls_certificate` or `validation_context`; None while it is not here.

    Without a source it is one of the bootstrap. Adds the file, or the secret, to `inputs`.
    """
    source = view.child("sds_config")
    if source is None:
        return _static(view, kind, inputs)
    if source.oneof("config_source_specifier") not in ("path", "path_config_source"):
        return _from_elsewhere(view, source, kind, inputs)
    source.ignore("resource_api_version", "initial_fetch_timeout")
    found = source.child("path_config_source")
    if found is not None:
        found.ignore("watched_directory")  # the files themselves are looked at
    path = source.text("path") if found is None else found.text("path")
    inputs.files.append(path)
    name = view.text("name")
    for secret in _secrets(view, path):
        if secret.name == name:
            if not secret.HasField(kind):
                view.fail("name", f"the secret {name!r} in {path} is no {kind}")
            return View(getattr(secret, kind), view.path, view.report)
    view.fail("name", f"the file {path} holds no secret {name!r}")


def _static(view: View, kind: str, inputs: TlsInputs) -> View:
    name, known = view.text("name"), view.report.static_secrets
    body = known.get(name)
    if body is None:
        near = "".join(difflib.get_close_matches(name, known, 1, 0.6))
        view.fail("name", f"static_resources.secrets has no {name!r}", expected="its name, or sds_config", nearest=near)
    secret: Any = message_class(_SECRET).FromString(body)
    if not secret.HasField(kind):
        view.fail("name", f"the secret {name!r} is no {kind}")
    inputs.static_secrets[name] = body
    return View(getattr(secret, kind), view.path, view.report)


def _from_elsewhere(view: View, source: View, kind: str, inputs: TlsInputs) -> View | None:
    # Sources of control planes may have TLS of their own, and so they import this.
    from pyproxy.config.config_source_compile import compile_config_source

    config, name = compile_config_source(source, CompileContext(Extensions())), view.text("name")
    slot = slot_of(config, name)
    inputs.secrets.append(SecretRef(config, name, slot))
    body = view.report.secrets.get(slot)
    if body is None:
        inputs.pending = True
        return None
    secret: Any = message_class(_SECRET).FromString(body)
    if not secret.HasField(kind):
        view.fail("name", f"the secret {name!r} is no {kind}")
    return View(getattr(secret, kind), view.path, view.report)


def _secrets(view: View, path: str) -> list[Any]:
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        view.fail("sds_config", f"the file {path} cannot be read: {getattr(error, 'strerror', None) or error}")
    loaded = load_message(text, path, _RESPONSE)
    if loaded.faults:
        view.fail("sds_config", f"the file {path}: {loaded.faults[0].reason}")
    found: list[Any] = []
    for at, packed in enumerate(loaded.message.resources):  # type: ignore[attr-defined]
        message = unpack_at(packed, (*view.path, "sds_config", "resources", at))
        if message.DESCRIPTOR.full_name != _SECRET:
            view.fail("sds_config", f"the file {path} holds a {message.DESCRIPTOR.full_name}", expected=_SECRET)
        found.append(message)
    return found
