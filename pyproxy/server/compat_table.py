"""`pyproxy compat --table DIR`: what of many configurations is taken, as a page in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyproxy.config.resource_files import NotPlain, messages_in, read_plain
from pyproxy.server.compat_verdict import Verdict, verdict_of

_FILES: Final = (".yaml", ".yml", ".json", ".golden", ".tmpl")
_SHORT: Final = ("envoy.extensions.", "envoy.config.", "envoy.")
_WORDS: Final = {
    "envoy.config.bootstrap.v3.Bootstrap": "bootstrap",
    "envoy.config.listener.v3.Listener": "listener",
    "envoy.config.cluster.v3.Cluster": "cluster",
    "envoy.config.route.v3.RouteConfiguration": "route table",
    "envoy.config.endpoint.v3.ClusterLoadAssignment": "load assignment",
    "envoy.extensions.transport_sockets.tls.v3.Secret": "secret",
    "envoy.service.runtime.v3.Runtime": "runtime layer",
}

HEAD: Final = """\
# Compatibility

What pyproxy makes of configurations of Envoy that control planes produce, by their own test data. Written by
`pyproxy compat --table DIR` (`make docs`), nothing of it by hand. `pyproxy compat FILE` tells the same of a bootstrap
of yours, with lines and columns.

A message *loads* if every field of it is understood; fields that are not honoured are named, those in bold change
traffic or security. It is *refused* with every reason that there is, and then nothing of it is used: what was there
before stays. Messages that are only part of a configuration (a filter without its listener) are looked at by
themselves, where they can be. What is redacted counts for nothing, nor do files that are named and are not there.
Not everything here is meant to load: some files are tests of what is wrong.
"""


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """`name` is below the directory; `note` says why there is nothing to judge."""

    name: str
    verdicts: tuple[Verdict, ...] = ()
    note: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(reason for one in self.verdicts for reason in one.reasons))

    @property
    def unhonoured(self) -> dict[str, bool]:
        """Field -> whether it is severe."""
        return {_short(one.field): one.severe for verdict in self.verdicts for one in verdict.unhonoured}


def look_at(directory: Path) -> list[FileVerdict]:
    """All configurations below a directory, in the order of their names."""
    files = sorted(path for path in directory.rglob("*") if path.suffix in _FILES and path.is_file())
    return [_look_at(path, str(path.relative_to(directory))) for path in files]


def page(files: list[FileVerdict]) -> str:
    """The whole of it."""
    groups: dict[str, list[FileVerdict]] = {}
    for one in files:
        groups.setdefault(one.name.partition("/")[0], []).append(one)
    parts = [HEAD, *_sums(groups), *_refusals(groups), *_fields(groups)]
    for name, group in groups.items():
        parts.extend(_group(name, group))
    return "\n".join(parts).rstrip("\n") + "\n"


def _look_at(path: Path, name: str) -> FileVerdict:
    try:
        found = list(messages_in(read_plain(path)))
    except NotPlain as error:
        return FileVerdict(name, note=str(error))
    verdicts = tuple(map(verdict_of, found))
    if verdicts and not any(one.judged or one.reasons for one in verdicts):
        return FileVerdict(name, verdicts, "cannot be looked at by itself")
    return FileVerdict(name, verdicts, "" if verdicts else "no configuration of Envoy's")


def _sums(groups: dict[str, list[FileVerdict]]) -> Iterator[str]:
    yield "## In short\n"
    yield "| | files | nothing to look at | messages | load | of these all is honoured | refused |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    everything = [one for group in groups.values() for one in group]
    for name, files in [*groups.items(), ("all", everything)]:
        verdicts = [one for file in files for one in file.verdicts if one.judged]
        load = [one for one in verdicts if not one.reasons]
        whole = [one for one in load if not any(field.severe for field in one.unhonoured)]
        notes = sum(bool(one.note) for one in files)
        counts = (len(files), notes, len(verdicts), len(load), len(whole), len(verdicts) - len(load))
        yield f"| {name} | {' | '.join(map(str, counts))} |"
    yield "\n*All is honoured*: but for what changes neither traffic nor security.\n"


def _refusals(groups: dict[str, list[FileVerdict]]) -> Iterator[str]:
    yield "## Why messages are refused\n"
    yield from _counted("reason", groups, lambda file: {_text(reason): "" for reason in file.reasons})


def _fields(groups: dict[str, list[FileVerdict]]) -> Iterator[str]:
    yield "## What is not honoured\n"
    yield from _counted(
        "field", groups, lambda file: {name: "**" if bad else "" for name, bad in file.unhonoured.items()}
    )


def _counted(
    what: str, groups: dict[str, list[FileVerdict]], of: Callable[[FileVerdict], dict[str, str]]
) -> Iterator[str]:
    """In how many files of which control plane something stands, the most frequent first. `of` gives the texts of a
    file, and what to put around each."""
    counts: dict[str, Counter[str]] = {}
    marks: dict[str, str] = {}
    for name, group in groups.items():
        for found in map(of, group):
            for text, mark in found.items():
                counts.setdefault(text, Counter())[name] += 1
                marks[text] = mark
    yield f"| {what} | files | {' | '.join(groups)} |"
    yield f"| --- | --- |{' --- |' * len(groups)}"
    for text, count in sorted(counts.items(), key=lambda one: (-one[1].total(), one[0])):
        columns = " | ".join(str(count[name] or "") for name in groups)
        yield f"| {marks[text]}{text}{marks[text]} | {count.total()} | {columns} |"
    yield ""


def _group(name: str, group: list[FileVerdict]) -> Iterator[str]:
    yield f"## {name}\n"
    yield "| file | holds | verdict |"
    yield "| --- | --- | --- |"
    for file in group:
        yield f"| {file.name.removeprefix(f'{name}/')} | {_contents(file.verdicts)} | {_verdict(file)} |"
    yield ""


def _contents(verdicts: Iterable[Verdict]) -> str:
    counts = Counter(_WORDS.get(one.type_name, _short(one.type_name)) for one in verdicts)
    return ", ".join(name if count == 1 else f"{count} {name}s" for name, count in counts.items())


def _verdict(file: FileVerdict) -> str:
    if file.note:
        return f"({_text(file.note)})"
    refused = sum(bool(one.reasons) for one in file.verdicts)
    words = "loads"
    if refused:
        of = "" if len(file.verdicts) == 1 else f" {refused} of {len(file.verdicts)}"
        words = f"refused{of}: {'; '.join(map(_text, file.reasons))}"
    fields = [f"**{name}**" if severe else name for name, severe in file.unhonoured.items()]
    return f"{words}<br>not honoured: {', '.join(fields)}" if fields else words


def _short(name: str) -> str:
    return next((name.removeprefix(start) for start in _SHORT if name.startswith(start)), name)


def _text(text: str) -> str:
    """For a cell of a table."""
    for start in _SHORT[:2]:
        text = text.replace(start, "")
    text = text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    return " ".join(text.split())
