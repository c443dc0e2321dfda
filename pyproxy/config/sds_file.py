"""Secrets that a file holds (Envoy: SDS with `path_config_source`): certificates that can change while we run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pyproxy.config.any_message import unpack_at
from pyproxy.config.load import load_message
from pyproxy.config.view import View

_RESPONSE: Final = "envoy.service.discovery.v3.DiscoveryResponse"
_SECRET: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"


def read_secret(view: View, kind: str, files: list[str]) -> View:
    """What an `SdsSecretConfig` names: its `tls_certificate` or `validation_context`. Adds the file to `files`."""
    source = view.child("sds_config")
    if source is None:
        view.fail("sds_config", "is required: static secrets are not supported yet", expected="path_config_source")
    source.ignore("resource_api_version", "initial_fetch_timeout")
    found = source.child("path_config_source")
    if found is not None:
        found.ignore("watched_directory")  # the files themselves are looked at
    path = source.text("path") if found is None else found.text("path")
    if not path:
        source.fail("", "secrets from a control plane are not supported yet", expected="path_config_source")
    files.append(path)
    name = view.text("name")
    for secret in _secrets(view, path):
        if secret.name == name:
            if not secret.HasField(kind):
                view.fail("name", f"the secret {name!r} in {path} is no {kind}")
            return View(getattr(secret, kind), view.path, view.report)
    view.fail("name", f"the file {path} holds no secret {name!r}")


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
