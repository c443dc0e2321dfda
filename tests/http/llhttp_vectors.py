"""Reads the test vectors of llhttp (Markdown: an input, and the log of what its parser said to it)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.http.h1_playbook import Pairs

_TITLE = re.compile(r"^#{2,3} (.*)$")
_META = re.compile(r"^<!-- meta=(.*) -->$")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([rntf]))")
_NAMED = {"r": "\r", "n": "\n", "t": "\t", "f": "\f"}
_LINE_END = {"cr": b"\r", "lf": b"\n"}
_SPAN = re.compile(r'^off=\d+ len=\d+ span\[([a-z_.]+)\]=(?:"(.*)"|(cr|lf))$')


@dataclass
class Expected:
    """One message as llhttp read it."""

    start: dict[str, bytes] = field(default_factory=dict)
    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    complete: bool = False


@dataclass
class Vector:
    """`kind` is `request`, `response` or `url`, perhaps with `-lenient-...` or `-finish` behind it."""

    name: str
    kind: str
    data: bytes
    messages: list[Expected]
    error: bool
    skip_body: bool


def directory() -> Path | None:
    corpora = os.environ.get("PYPROXY_CORPORA")
    found = Path(corpora, "llhttp") if corpora else None
    return found if found and found.is_dir() else None


def vectors(root: Path) -> Iterator[Vector]:
    for path in sorted(root.rglob("*.md")):
        yield from _file(path.relative_to(root).with_suffix(""), path.read_text().splitlines())


def _file(path: Path, lines: list[str]) -> Iterator[Vector]:
    title = ""
    meta: dict[str, object] = {}
    count: dict[str, int] = {}
    source = ""
    at = 0
    while at < len(lines):
        line = lines[at]
        if match := _TITLE.match(line):
            title, meta = match[1], {}
        elif match := _META.match(line):
            meta = json.loads(match[1])
        elif line in ("```http", "```url", "```log"):
            end = lines.index("```", at + 1)
            block = lines[at + 1 : end]
            if line != "```log":
                source = "\n".join(block)
                kind = "url" if line == "```url" else str(meta.get("type"))
            else:
                count[title] = count.get(title, 0) + 1
                number = f" #{count[title]}" if count[title] > 1 else ""
                messages, error = _log(block)
                yield Vector(
                    f"{path}: {title}{number}", kind, _bytes(source), messages, error, bool(meta.get("skipBody"))
                )
            at = end
        at += 1


def _bytes(source: str) -> bytes:
    """A line end is CRLF, unless a backslash takes it away; escapes stand for characters."""
    return _unescape(re.sub(r"\\\n", "", source).replace("\n", "\r\n"))


def _unescape(text: str) -> bytes:
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _NAMED[m[2]], text).encode()


def _log(lines: list[str]) -> tuple[list[Expected], bool]:
    messages: list[Expected] = []
    error = False
    begun = ""  # the header span that goes on in the next line
    for line in lines:
        if line.endswith("message begin"):
            messages.append(Expected())
        elif line.endswith("message complete"):
            messages[-1].complete = True
        elif " error code=" in line:
            error = True
        elif (match := _SPAN.match(line)) and messages:
            text = _LINE_END[match[3]] if match[3] else _unescape(match[2])
            begun = _span(messages[-1], match[1], text, begun)
        elif line.endswith(("header_field complete", "header_value complete")):
            begun = ""
    return messages, error


def _span(message: Expected, name: str, text: bytes, begun: str) -> str:
    if name == "body":
        message.body += text
    elif name == "header_field":
        if begun == name:
            text = message.headers.pop()[0] + text
        message.headers.append((text, b""))
    elif name == "header_value":
        field_name, before = message.headers.pop()
        message.headers.append((field_name, before + text))
    else:
        message.start[name] = message.start.get(name, b"") + text
    return name
