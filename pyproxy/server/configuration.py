"""From the command line to a compiled configuration, or to the list of all that is wrong with it.

Reading, the rules of the API and compiling each find faults; they are told together, in the order of the files.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.config.extensions import Extensions
from pyproxy.config.invalid import Fault, InvalidConfig, Place, Report, render_path
from pyproxy.config.load import Loaded, add_faults, load_bootstrap, without_garbage_collection
from pyproxy.config.positions import Positions
from pyproxy.config.snapshot import compile_bootstrap
from pyproxy.filters.builtin import EXTENSIONS
from pyproxy.server.flags import Options

log = logging.getLogger("pyproxy.config.load")


@dataclass(slots=True)
class Configuration:
    """What the proxy was told to do: the bootstrap as protobuf, as values, and what of it is not honoured."""

    message: Any
    bootstrap: BootstrapConfig
    report: Report
    positions: Positions


class ConfigurationError(Exception):
    """A configuration that cannot be used."""

    def __init__(self, name: str, faults: list[tuple[Place, Fault]]) -> None:
        self.name = name
        self.faults = faults
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line for each fault, and the sum at the end."""
        count = len(self.faults)
        summary = f"configuration '{self.name}' is not valid: {count} error{'' if count == 1 else 's'}"
        return [*(f"{place}: {_words(fault)}" for place, fault in self.faults), summary]


def read_configuration(options: Options) -> Configuration:
    """Load and compile. Raises ConfigurationError with every fault that was found."""
    with without_garbage_collection():
        return _read(options)


def _read(options: Options) -> Configuration:
    name = options.config_path or ("--config-yaml" if options.config_yaml else "the command line")
    try:
        loaded = load_bootstrap(options.config_path, options.config_yaml, allow_unknown=options.allows_unknown_fields)
    except InvalidConfig as error:
        raise ConfigurationError(name, [(fault.place or Place(name), fault) for fault in error.faults]) from None
    for warning in loaded.warnings:
        log.warning("%s", warning)
    _apply(options, loaded.message)
    report = Report(allow_unknown_fields=options.allows_unknown_fields)
    bootstrap = _compiled(loaded, report, _enabled(options.disable_extensions))
    if loaded.faults or bootstrap is None:
        raise ConfigurationError(name, _in_order(loaded))
    return Configuration(loaded.message, bootstrap, report, loaded.positions)


def _compiled(loaded: Loaded, report: Report, extensions: Extensions) -> BootstrapConfig | None:
    """None where the compilers found faults. They look at what could be read even if not all could be."""
    try:
        return compile_bootstrap(loaded.message, report, extensions)
    except InvalidConfig as error:
        add_faults(loaded, error.faults)
        return None


def _enabled(disabled: str) -> Extensions:
    """The extensions without those of `--disable-extensions`, which are written as category/name."""
    names = {name.strip().rpartition("/")[2] for name in disabled.split(",")}
    return Extensions(one for one in EXTENSIONS.all if one.name not in names) if disabled else EXTENSIONS


def _apply(options: Options, message: Any) -> None:
    """What the command line says about the node and the statistics wins over the file, as in Envoy."""
    if options.service_node:
        message.node.id = options.service_node
    if options.service_cluster:
        message.node.cluster = options.service_cluster
    if options.service_zone:
        message.node.locality.zone = options.service_zone
    for pair in options.stats_tag:
        tag, _, value = pair.partition(":")
        message.stats_config.stats_tags.add(tag_name=tag, fixed_value=value)


def _in_order(loaded: Loaded) -> list[tuple[Place, Fault]]:
    placed = [(fault.place or loaded.positions.of(fault.path), fault) for fault in loaded.faults]
    files = list(dict.fromkeys(place.file for place, _ in placed))
    return sorted(placed, key=lambda one: (files.index(one[0].file), one[0].line, one[0].column))


def _words(fault: Fault) -> str:
    """A fault without a path is about the text as a whole, and its place says enough."""
    return str(fault) if fault.path else str(fault).removeprefix(f"{render_path(())}: ")
