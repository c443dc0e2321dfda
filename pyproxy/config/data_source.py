"""Texts and bytes in the configuration, in a file or in the environment (envoy.config.core.v3.DataSource)."""

from __future__ import annotations

import os
from pathlib import Path

from pyproxy.config.view import View


def read_data_source(view: View, most: int | None = None) -> bytes:
    """What the source holds now. `most` bounds its size in bytes. Raises InvalidConfig."""
    kind = view.oneof("specifier")
    match kind:
        case "inline_bytes":
            data: bytes = view.scalar(kind)
        case "inline_string":
            data = view.text(kind).encode()
        case "filename":
            data = _read_file(view, kind, most)
        case "environment_variable":
            name = view.text(kind)
            value = os.environb.get(name.encode())
            if value is None:
                view.fail(kind, f"the environment has no variable {name!r}")
            data = value
        case _:
            view.fail("", "is empty", expected="filename, inline_bytes, inline_string or environment_variable")
    if most is not None and len(data) > most:
        view.fail(kind, f"holds {len(data)} bytes, and at most {most} are allowed")
    return data


def read_text(view: View, most: int | None = None) -> str:
    """A source that holds text. Bytes that are not UTF-8 come as surrogates, so that nothing is lost."""
    return read_data_source(view, most).decode("utf-8", "surrogateescape")


def _read_file(view: View, field: str, most: int | None) -> bytes:
    path = Path(view.text(field))
    try:
        size = path.stat().st_size
        if most is not None and size > most:
            view.fail(field, f"the file {path} holds {size} bytes, and at most {most} are allowed")
        return path.read_bytes()
    except OSError as error:
        view.fail(field, f"the file {path} cannot be read: {error.strerror}")
