"""`pyproxy compat FILE`: which fields of an Envoy configuration this proxy does not honour, and where they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyproxy.config.invalid import Fault, Place, Unhonoured, render_path
from pyproxy.server.compat_table import look_at, page
from pyproxy.server.configuration import Configuration, ConfigurationError, read_configuration
from pyproxy.server.flags import Options, UsageError

EXIT_OK, EXIT_SEVERE, EXIT_USAGE = 0, 1, 2

HELP = """\
usage: pyproxy compat FILE [--json] [--config-yaml YAML] [--allow-unknown-static-fields]
       pyproxy compat --table DIR

Lists every field of an Envoy v3 bootstrap that pyproxy knows and does not honour, with its place. A field is severe
if leaving it out changes traffic or security, else harmless (statistics, tracing, hints).

With --table: what of all configurations in a directory loads, and why not, as a page in Markdown. They may be
bootstraps, config dumps, responses of control planes or single resources.

Exit code: 0 nothing severe, 1 a severe field or an invalid configuration, 2 wrong usage.
Example: pyproxy compat envoy.yaml --json | jq '.unhonoured[] | select(.effect == "severe")'
"""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand; `argv` is what follows `compat`."""
    if any(word in ("-h", "--help") for word in argv):
        sys.stdout.write(HELP)
        return EXIT_OK
    if argv[:1] == ["--table"]:
        return _table(argv[1:])
    try:
        options = _options(argv)
    except UsageError as error:
        sys.stderr.write(f"pyproxy compat: {error}\n{HELP.splitlines()[0]}\n")
        return EXIT_USAGE
    as_json = "--json" in argv
    try:
        configuration = read_configuration(options)
    except ConfigurationError as error:
        _write_faults(error, as_json=as_json)
        return EXIT_SEVERE
    found = _placed(configuration)
    (_write_json if as_json else _write_text)(options.config_path, found)
    return EXIT_SEVERE if any(field.severe for _, field in found) else EXIT_OK


def _table(argv: Sequence[str]) -> int:
    if len(argv) != 1 or not Path(argv[0]).is_dir():
        sys.stderr.write(f"pyproxy compat: --table: which directory?\n{HELP.splitlines()[0]}\n")
        return EXIT_USAGE
    sys.stdout.write(page(look_at(Path(argv[0]))))
    return EXIT_OK


def _options(argv: Sequence[str]) -> Options:
    words = [word for word in argv if word != "--json"]
    file = next((index for index, word in enumerate(words) if _is_file(words, index)), None)
    if file is None:
        raise UsageError("which file?")
    chosen = Options.parse(words[:file] + words[file + 1 :])
    if chosen.config_path or chosen.early is not None:
        raise UsageError("the file is given without a flag")
    return replace(chosen, config_path=words[file])


def _is_file(words: list[str], index: int) -> bool:
    return not words[index].startswith("-") and (index == 0 or words[index - 1] != "--config-yaml")


def _placed(configuration: Configuration) -> list[tuple[Place, Unhonoured]]:
    """The severe ones first, each kind in the order of the file."""
    of = configuration.positions.of
    placed = [(of(field.path), field) for field in configuration.report.unhonoured]
    return sorted(placed, key=lambda one: (not one[1].severe, one[0].file, one[0].line, one[0].column))


def _effect(field: Unhonoured) -> str:
    return "severe" if field.severe else "harmless"


def _write_text(file: str, found: list[tuple[Place, Unhonoured]]) -> None:
    for place, field in found:
        sys.stdout.write(f"{place}: {_effect(field)}: {render_path(field.path)} ({field.field}) is not honoured\n")
    severe = sum(field.severe for _, field in found)
    count = {0: "every field is honoured", 1: "1 field is not honoured"}
    words = count.get(len(found), f"{len(found)} fields are not honoured")
    sums = f": {severe} severe, {len(found) - severe} harmless" if found else ""
    sys.stdout.write(f"{file}: {words}{sums}\n")


def _write_json(file: str, found: list[tuple[Place, Unhonoured]]) -> None:
    severe = sum(field.severe for _, field in found)
    _write_document(
        {
            "file": file,
            "valid": True,
            "severe": severe,
            "harmless": len(found) - severe,
            "unhonoured": [
                {**_place_json(place, field.path), "field": field.field, "effect": _effect(field)}
                for place, field in found
            ],
        }
    )


def _write_faults(error: ConfigurationError, *, as_json: bool) -> None:
    if not as_json:
        sys.stderr.write("\n".join(error.lines()) + "\n")
        return
    _write_document(
        {
            "file": error.name,
            "valid": False,
            "faults": [{**_place_json(place, fault.path), **_fault_json(fault)} for place, fault in error.faults],
        }
    )


def _place_json(place: Place, path: tuple[str | int, ...]) -> dict[str, Any]:
    return {"file": place.file, "line": place.line, "column": place.column, "path": render_path(path) if path else ""}


def _fault_json(fault: Fault) -> dict[str, str]:
    return {"reason": fault.reason, "expected": fault.expected, "nearest": fault.nearest}


def _write_document(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
