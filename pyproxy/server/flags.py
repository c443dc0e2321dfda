"""Envoy's command line: every flag of Envoy 1.40, what it may hold, and `Options`, which is what the user chose.

Not on the request path. The syntax is Envoy's (`--flag value`, `-c file`, each flag once); `--flag=value` is taken too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Self

from pyproxy.server.log_components import ALIASES, COMPONENTS, LEVELS

_UINT32 = re.compile(r"\s*\+?[0-9]+")
_STATS_TAG = re.compile(r"([A-Za-z0-9]+):([^.]+)")
DEFAULT_LOG_FORMAT = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v"


class UsageError(Exception):
    """A command line that cannot be understood."""


class Early(Enum):
    """Flags that end the program as soon as they are met."""

    HELP = "help"
    VERSION = "version"
    HOT_RESTART_VERSION = "hot-restart-version"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. Each attribute is Envoy's flag with underscores."""

    config_path: str = ""
    config_yaml: str = ""
    mode: str = "serve"
    concurrency: int | None = None
    """None where it was not given: then one worker for each processor that we may use."""
    allow_unknown_static_fields: bool = False
    allow_unknown_fields: bool = False
    reject_unknown_dynamic_fields: bool = False
    ignore_unknown_dynamic_fields: bool = False
    skip_deprecated_logs: bool = False
    admin_address_path: str = ""
    local_address_ip_version: str = "v4"
    log_level: str = "info"
    component_log_level: str = ""
    log_format: str = DEFAULT_LOG_FORMAT
    log_format_escaped: bool = False
    log_path: str = ""
    log_stacktrace_single_entry: bool = False
    enable_fine_grain_logging: bool = False
    service_cluster: str = ""
    service_node: str = ""
    service_zone: str = ""
    stats_tag: tuple[str, ...] = ()
    file_flush_interval_msec: int = 10_000
    file_flush_min_size_kb: int = 64
    drain_time_s: int = 600
    drain_strategy: str = "gradual"
    parent_shutdown_time_s: int = 900
    base_id: int = 0
    use_dynamic_base_id: bool = False
    base_id_path: str = ""
    restart_epoch: int = 0
    disable_hot_restart: bool = False
    skip_hot_restart_on_no_parent: bool = False
    skip_hot_restart_parent_stats: bool = False
    socket_path: str = "@envoy_domain_socket"
    socket_mode: str = "600"
    enable_mutex_tracing: bool = False
    enable_core_dump: bool = False
    cpuset_threads: bool = False
    disable_extensions: str = ""
    early: Early | None = None
    without_meaning: tuple[str, ...] = ()
    """Flags that were given, are accepted, and change nothing here."""

    @property
    def allows_unknown_fields(self) -> bool:
        return self.allow_unknown_static_fields or self.allow_unknown_fields

    @property
    def allows_unknown_dynamic_fields(self) -> bool:
        """Of resources that come while we run: those who send them may be newer than we are (Envoy's default)."""
        return not self.reject_unknown_dynamic_fields

    @property
    def component_levels(self) -> dict[str, str]:
        """`--component-log-level` as {component: level}."""
        return dict(_component_levels(self.component_log_level)) if self.component_log_level else {}

    @classmethod
    def parse(cls, argv: Sequence[str]) -> Self:
        """Raises UsageError."""
        chosen: dict[str, Any] = {}
        words = iter(argv)
        for word in words:
            if word == "--":
                break
            flag, value = _flag_and_value(word, words)
            if flag.early is not None:
                return cls(early=flag.early)
            if flag.attribute in chosen and not flag.repeats:
                raise UsageError(f"{flag.spelling}: given twice")
            read = flag.read(value, flag)
            chosen[flag.attribute] = (*chosen.get(flag.attribute, ()), read) if flag.repeats else read
        idle = tuple(f"--{flag.name}" for flag in FLAGS if not flag.matters and flag.attribute in chosen)
        return cls(**chosen, without_meaning=idle)


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of the command line."""

    name: str
    help: str
    read: Callable[[str, Flag], Any]
    takes: str = ""
    """What the value is called in the help; empty for a switch."""
    short: str = ""
    repeats: bool = False
    matters: bool = True
    early: Early | None = field(default=None)

    @property
    def attribute(self) -> str:
        return self.name.replace("-", "_")

    @property
    def spelling(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"

    def wrong(self, value: str, expected: str, known: Sequence[str] = ()) -> UsageError:
        near = difflib.get_close_matches(value.lower(), known, 1, 0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return UsageError(f"{self.spelling}: {value!r} is not valid; expected {expected}{hint}")


def _flag_and_value(word: str, words: Iterator[str]) -> tuple[Flag, str]:
    name, equals, value = word.partition("=")
    flag = _BY_SPELLING.get(name)
    if flag is None:
        raise UsageError(_unknown(word, name))
    if not flag.takes:
        if equals:
            raise UsageError(f"{flag.spelling}: takes no value")
        return flag, ""
    if not equals:
        try:
            value = next(words)
        except StopIteration:
            raise UsageError(f"{flag.spelling}: needs a value, {flag.takes}") from None
    return flag, value


def _unknown(word: str, name: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} is not a flag; expected flags such as --config-path FILE (see --help)"
    if len(word) > 2 and word[1] != "-" and word[:2] in _BY_SPELLING:
        return f"{word!r} is not a flag; write {word[:2]!r} and its value as two words"
    near = difflib.get_close_matches(name, _BY_SPELLING, 1, 0.6)
    return f"unknown flag {name!r}" + (f"; did you mean {near[0]!r}?" if near else "; see --help")


def _switch(value: str, flag: Flag) -> bool:
    return True


def _text(value: str, flag: Flag) -> str:
    return value


def _number(value: str, flag: Flag) -> int:
    if not _UINT32.fullmatch(value) or int(value) >= 1 << 32:
        raise flag.wrong(value, "a whole number from 0 to 4294967295")
    return int(value)


def _one_of(*known: str) -> Callable[[str, Flag], str]:
    def read(value: str, flag: Flag) -> str:
        if value not in known:
            raise flag.wrong(value, f"one of {', '.join(known)}", known)
        return value

    return read


def _stats_tag(value: str, flag: Flag) -> str:
    if not _STATS_TAG.fullmatch(value):
        raise flag.wrong(value, "tag:value, the tag of letters and digits, the value without dots")
    return value


def _components(value: str, flag: Flag) -> str:
    if value:
        for component, level in _component_levels(value):
            if not component or not level:
                raise flag.wrong(value, "component:level pairs with commas, such as upstream:debug,config:trace")
            if component not in COMPONENTS:
                raise flag.wrong(component, "the name of a log component", COMPONENTS)
            if level not in _LEVEL_NAMES:
                raise flag.wrong(level, f"one of {', '.join(_LEVEL_NAMES)}", _LEVEL_NAMES)
    return value


def _component_levels(value: str) -> Iterator[tuple[str, str]]:
    for pair in value.split(","):
        component, _, level = pair.partition(":")
        yield component, level


_LEVEL_NAMES = ("trace", "debug", "info", "warning", "warn", "error", "critical", "off")
if any(ALIASES.get(name, name) not in LEVELS for name in _LEVEL_NAMES):
    raise AssertionError("the levels of the command line are not those of the application log")

FLAGS: tuple[Flag, ...] = (
    Flag("config-path", "the bootstrap: .yaml, .yml, .json, .pb or .pb_text", _text, "FILE", "c"),
    Flag("config-yaml", "YAML that is merged over the bootstrap", _text, "YAML"),
    Flag(
        "mode",
        "serve (default), validate (check and exit), init_only",
        _one_of("serve", "validate", "init_only"),
        "MODE",
    ),
    Flag("concurrency", "number of workers; default: one for each processor", _number, "N"),
    Flag("allow-unknown-static-fields", "pass over unknown fields of the bootstrap", _switch),
    Flag("allow-unknown-fields", "old name of --allow-unknown-static-fields", _switch),
    Flag("admin-address-path", "file to write the admin's address to", _text, "FILE"),
    Flag("log-level", f"one of {', '.join(_LEVEL_NAMES)}; default info", _one_of(*_LEVEL_NAMES), "LEVEL", "l"),
    Flag("component-log-level", "such as upstream:debug,config:trace", _components, "LEVELS"),
    Flag("log-format", f"default {DEFAULT_LOG_FORMAT}", _text, "FORMAT"),
    Flag("log-format-escaped", "escape control characters in the application log", _switch),
    Flag("log-path", "file for the application log; default stderr", _text, "FILE"),
    Flag("service-cluster", "node.cluster", _text, "NAME"),
    Flag("service-node", "node.id", _text, "NAME"),
    Flag("service-zone", "node.locality.zone", _text, "NAME"),
    Flag("stats-tag", "a tag for every statistic; may be repeated", _stats_tag, "TAG:VALUE", repeats=True),
    Flag("local-address-ip-version", "v4 (default) or v6", _one_of("v4", "v6"), "VERSION"),
    Flag("file-flush-interval-msec", "how often access logs are written; default 10000", _number, "N"),
    Flag("file-flush-min-size-kb", "access logs are written from this size on; default 64", _number, "N"),
    Flag("drain-time-s", "how long open connections may take to end; default 600", _number, "N"),
    Flag("drain-strategy", "gradual (default) or immediate", _one_of("gradual", "immediate"), "STRATEGY"),
    Flag("disable-extensions", "category/name of extensions, with commas", _text, "NAMES"),
    Flag("help", "show this help and exit", _switch, short="h", early=Early.HELP),
    Flag("version", "show the version and exit", _switch, early=Early.VERSION),
    Flag("hot-restart-version", "show 'disabled' and exit", _switch, early=Early.HOT_RESTART_VERSION),
    Flag("base-id", "", _number, "N", matters=False),
    Flag("use-dynamic-base-id", "", _switch, matters=False),
    Flag("base-id-path", "", _text, "FILE", matters=False),
    Flag("restart-epoch", "", _number, "N", matters=False),
    Flag("disable-hot-restart", "", _switch, matters=False),
    Flag("skip-hot-restart-on-no-parent", "", _switch, matters=False),
    Flag("skip-hot-restart-parent-stats", "", _switch, matters=False),
    Flag("parent-shutdown-time-s", "", _number, "N", matters=False),
    Flag("socket-path", "", _text, "PATH", matters=False),
    Flag("socket-mode", "", _text, "MODE", matters=False),
    Flag("reject-unknown-dynamic-fields", "refuse resources with fields that are not known", _switch),
    Flag("ignore-unknown-dynamic-fields", "", _switch, matters=False),
    Flag("skip-deprecated-logs", "", _switch, matters=False),
    Flag("log-stacktrace-single-entry", "", _switch, matters=False),
    Flag("enable-fine-grain-logging", "", _switch, matters=False),
    Flag("enable-mutex-tracing", "", _switch, matters=False),
    Flag("enable-core-dump", "", _switch, matters=False),
    Flag("cpuset-threads", "", _switch, matters=False),
)

_BY_SPELLING: dict[str, Flag] = {f"--{flag.name}": flag for flag in FLAGS} | {
    f"-{flag.short}": flag for flag in FLAGS if flag.short
}
if {flag.attribute for flag in FLAGS if flag.early is None} - {item.name for item in fields(Options)}:
    raise AssertionError("a flag has no attribute in Options")
