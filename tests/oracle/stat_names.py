"""Which statistics a real Envoy used and pyproxy did not, and the page that says why: docs/statistics.md.

STAT_NAMES=write writes the table of that page anew; new names get an empty reason, which the test does not let pass.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.process import ProxyProcess

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
HEAD = "| statistic | why it is not here |\n| --- | --- |\n"
WRITE = os.environ.get("STAT_NAMES") == "write"
_ZERO = ("0", "No recorded values", '""')
_PORT = re.compile(r"127\.0\.0\.1_([0-9]+)")
_ROW = re.compile(r"^\| `([^`]+)` \| (.*) \|$", re.MULTILINE)
_SHAPES = (
    (re.compile(r"^cluster\.[^.]+\."), "cluster.<name>."),
    (re.compile(r"^listener\.(?!admin\.)(?:127\.0\.0\.1_[^.]+|[^.]+)\."), "listener.<address>."),
    (re.compile(r"(^|\.)http\.(?!admin\.|async-client\.)[^.]+\."), r"\1http.<stat_prefix>."),
    (re.compile(r"^tcp\.[^.]+\."), "tcp.<stat_prefix>."),
    (re.compile(r"\brds\.[^.]+\."), "rds.<name>."),
    (re.compile(r"^vhost\.[^.]+\.(vcluster|route)\.[^.]+\."), r"vhost.<name>.\1.<name>."),
    (re.compile(r"\bworker_[0-9]+\."), "worker_<n>."),
    (re.compile(r"\.ssl\.(ciphers|curves|sigalgs|versions)\..+"), r".ssl.\1.<name>"),
    (re.compile(r"\.ssl\.certificate\..+\.expiration"), ".ssl.certificate.<name>.expiration"),
)


def used(proxy: ProxyProcess, ports: Mapping[str, int]) -> set[str]:
    """The names of what is not zero, with the names of listeners instead of their ports."""
    lines = proxy.admin("/stats")[1].decode().splitlines()
    names = {str(port): name for name, port in ports.items()}

    def named(found: re.Match[str]) -> str:
        return f"127.0.0.1_{names.get(found[1], found[1])}"

    return {
        _PORT.sub(named, name)
        for name, _, value in (line.partition(": ") for line in lines)
        if value and value not in _ZERO
    }


def missing(envoy: Iterable[str], pyproxy: Iterable[str]) -> set[str]:
    """What only Envoy used, with the names of clusters, listeners and so on taken out. What has such a name by chance
    (which cipher was agreed on) is there if any of its kind is."""
    ours = set(pyproxy)
    kinds = {shape(name) for name in ours if ".ssl." in name}
    return {shape(name) for name in set(envoy) - ours if shape(name) not in kinds}


def shape(name: str) -> str:
    for pattern, replacement in _SHAPES:
        name = pattern.sub(replacement, name)
    return name


def reasons() -> dict[str, str]:
    """What the page says."""
    return dict(_ROW.findall(PAGE.read_text("utf-8")))


def write(names: Iterable[str], said: Mapping[str, str]) -> None:
    text = PAGE.read_text("utf-8")
    begin = text.index(HEAD) + len(HEAD)
    end = begin + len("".join(found.group() + "\n" for found in _ROW.finditer(text, begin)))
    rows = "".join(f"| `{name}` | {said.get(name, '')} |\n" for name in sorted(names))
    PAGE.write_text(text[:begin] + rows + text[end:], "utf-8")
