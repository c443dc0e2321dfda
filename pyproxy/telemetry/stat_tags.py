"""Takes the variable parts out of a stat name and makes labels of them, as Envoy's default tag extractors do.

`cluster.blue.upstream_rq_200` is `cluster.upstream_rq` with `envoy_response_code="200"`, `envoy_cluster_name="blue"`.
Every extractor looks at the whole name; what they find is cut out together at the end. A name with further dots
(`cluster.a.b.`) gives what it gives in Envoy: the cluster `a`, and the `b` stays in the name of the metric.
Envoy: source/common/config/well_known_names.cc (the notation of the table is its own).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pyproxy.config.stats import TagRule
from pyproxy.telemetry.semantic_metrics import METRICS, SEPARATOR

__all__ = ["SEPARATOR", "TagExtractor", "TaggedName", "labelled", "shown"]

_ADDRESS = r"(?:\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[[a-fA-F_\d]+\])_\d+"
_WORD = r"[^.]+"

# (tag, pattern): a pattern that begins with ^ or ends with $ is a regex whose first group is cut out and whose second
# is the value; the others are words, where $ is the value, * any word and ** any words.
_DEFAULT: tuple[tuple[str, str], ...] = (
    ("envoy.response_code", r"_rq(_(\d{3}))$"),
    ("envoy.response_code_class", r"_rq_((\d))xx$"),
    ("envoy.grpc_bridge_method", "cluster.*.grpc.*.$.**"),
    ("envoy.http_user_agent", "http.*.user_agent.$.**"),
    ("envoy.virtual_cluster", "vhost.*.vcluster.$.**"),
    ("envoy.fault_downstream_cluster", "http.*.fault.$.**"),
    ("envoy.ssl_cipher", r"^listener\..*?\.ssl\.ciphers(\.([\w-]+))$"),
    ("envoy.ssl_curve", r"^(?:listener|cluster)\..*?\.ssl\.curves(\.([\w-]+))$"),
    ("envoy.ssl_sigalg", r"^(?:listener|cluster)\..*?\.ssl\.sigalgs(\.([\w-]+))$"),
    ("envoy.ssl_version", r"^(?:listener|cluster)\..*?\.ssl\.versions(\.(TLSv\d\.\d))$"),
    ("cipher_suite", rf"^cluster\.{_WORD}\.ssl\.ciphers(\.([\w-]+))$"),
    ("envoy.grpc_bridge_service", "cluster.*.grpc.$.**"),
    ("envoy.tcp_prefix", "tcp.$.**"),
    ("envoy.udp_prefix", "udp.$.**"),
    ("envoy.clientssl_prefix", "auth.clientssl.$.**"),
    ("envoy.ratelimit_prefix", "ratelimit.$.**"),
    ("envoy.cluster_name", "cluster.$.**"),
    ("envoy.http_conn_manager_prefix", rf"^listener\..*?\.http\.(({_WORD})\.)"),
    ("envoy.ext_authz_prefix", "cluster.*.ext_authz.$.**"),
    ("envoy.ext_authz_prefix", "http.*.ext_authz.$.**"),
    ("envoy.rbac_prefix", "$.rbac.**"),
    ("envoy.http_conn_manager_prefix", "http.$.**"),
    ("envoy.worker_id", rf"^(?:listener\.(?:{_ADDRESS}|{_WORD})\.|server\.|listener_manager\.)worker_((\d+)\.)"),
    ("envoy.listener_address", rf"^listener\.(({_ADDRESS}|{_WORD})\.)"),
    ("envoy.virtual_host", "vhost.$.**"),
    ("envoy.rds_route_config", rf"^http\.{_WORD}\.rds\.(([\w\-.]+)\.)\w+?$"),
    ("envoy.route", "vhost.*.route.$.**"),
    ("envoy.local_http_ratelimit_prefix", "$.http_local_rate_limit.**"),
    ("envoy.local_network_ratelimit_prefix", "local_rate_limit.$.**"),
    ("envoy.local_listener_ratelimit_prefix", "listener_local_ratelimit.$.**"),
    ("envoy.dns_filter_prefix", "dns_filter.$.**"),
)
_NOT_A_LISTENER = "admin"
_BAD_CHARACTER = re.compile("[^a-zA-Z0-9_]")
_FIRST_WORD = re.compile(r"\^?(\w+)\\?\.")
_MOST_REMEMBERED = 500_000


def labelled(metric: str, labels: Mapping[str, str]) -> str:
    """The name of a stat with labels of its own, which need not be found in it again by patterns."""
    parts = [metric]
    for label, value in labels.items():
        parts += (label, value.replace(SEPARATOR, "_"))
    return SEPARATOR.join(parts)


def shown(name: str) -> str:
    """A name as Envoy writes it in `/stats`."""
    return name.replace(SEPARATOR, ".")


class TaggedName(NamedTuple):
    """`metric` in Prometheus' alphabet, `labels` ready to be put in braces; `order` sorts metrics as Envoy does."""

    order: tuple[str, ...]
    metric: str
    labels: str
    tags: tuple[tuple[str, str], ...] = ()
    """(name, value), as they are; `".".join(order)` is the name without them."""


class _Extractor(NamedTuple):
    tag: str
    regex: re.Pattern[str]


class TagExtractor:
    """Names to labels, remembered. `fixed`: (name, value) of tags that every stat has."""

    def __init__(
        self, fixed: Iterable[tuple[str, str]] = (), rules: Iterable[TagRule] = (), *, defaults: bool = True
    ) -> None:
        """`rules` stand behind the default ones, which are there if `defaults`; one without a regex names a default."""
        self._everywhere: list[_Extractor] = []
        self._by_first_word: dict[str, list[_Extractor]] = {}
        self._fixed = tuple(fixed)
        self._known: dict[str, TaggedName] = {}
        self._ordered: dict[str, tuple[list[str], list[tuple[str, TaggedName]]]] = {}
        own = tuple(rules)
        wanted = {rule.name for rule in own if not rule.regex}
        chosen = [one for one in _DEFAULT if defaults or one[0] in wanted]
        self._own = [_Extractor(rule.name, re.compile(rule.regex, re.ASCII)) for rule in own if rule.regex]
        for tag, pattern in chosen:
            extractor = _Extractor(tag, _compile(pattern))
            first = _FIRST_WORD.match(pattern)
            if first is None:
                self._everywhere.append(extractor)
            else:
                self._by_first_word.setdefault(first[1], []).append(extractor)

    def __call__(self, name: str) -> TaggedName:
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            found = self._known[name] = self._tagged(name)
        return found

    def in_order(self, what: str, names: list[str]) -> list[tuple[str, TaggedName]]:
        """As Envoy sorts: what has one metric name stands together, and names sort word by word, `cluster.` before
        `cluster_manager.`. The last answer for `what` is kept: from scrape to scrape there is seldom a new name."""
        before = self._ordered.get(what)
        if before is None or before[0] != names:
            rows = [(name, self(name)) for name in names]
            rows.sort(key=lambda row: (row[1].order, row[0].split(".")))
            before = self._ordered[what] = names, rows
        return before[1]

    def _labelled(self, name: str) -> TaggedName:
        """A name that says its labels itself. Its first word is a namespace, which Prometheus does not see."""
        whole, *words = name.split(SEPARATOR)
        values = dict(self._fixed) | dict(zip(words[::2], words[1::2], strict=False))
        labels = ",".join(f'{_BAD_CHARACTER.sub("_", tag)}="{_escaped(value)}"' for tag, value in values.items())
        metric = _BAD_CHARACTER.sub("_", whole.partition(".")[2] or whole)
        known = METRICS.get(whole)
        if known is not None:
            metric += known.suffix
        return TaggedName(tuple(whole.split(".")), metric, labels, tuple(values.items()))

    def _tagged(self, name: str) -> TaggedName:
        if SEPARATOR in name:
            return self._labelled(name)
        values: dict[str, str] = {}
        cuts: list[tuple[int, int]] = []
        self._extract(self._everywhere, name, values, cuts)
        for tag, value in self._fixed:
            values.setdefault(tag, value)
        self._extract(self._by_first_word.get(name.partition(".")[0], ()), name, values, cuts)
        self._extract(self._own, name, values, cuts)
        bare = _without(name, cuts)
        labels = ",".join(f'{_BAD_CHARACTER.sub("_", tag)}="{_escaped(value)}"' for tag, value in values.items())
        return TaggedName(
            tuple(bare.split(".")), "envoy_" + _BAD_CHARACTER.sub("_", bare), labels, tuple(values.items())
        )

    @staticmethod
    def _extract(
        extractors: Iterable[_Extractor], name: str, values: dict[str, str], cuts: list[tuple[int, int]]
    ) -> None:
        for tag, regex in extractors:
            if tag in values:
                continue
            match = regex.search(name)
            if match is None or (tag == "envoy.listener_address" and match[2] == _NOT_A_LISTENER):
                continue
            values[tag] = match[2] if regex.groups > 1 and match[2] is not None else match[1]
            cuts.append(match.span(1))


def _without(name: str, cuts: list[tuple[int, int]]) -> str:
    """What is left when these pieces are cut out; they may lie within each other."""
    kept, at = "", 0
    for start, end in sorted(cuts):
        kept += name[at : max(at, start)]
        at = max(at, end)
    return kept + name[at:]


def _compile(pattern: str) -> re.Pattern[str]:
    if pattern.startswith("^") or pattern.endswith("$"):
        return re.compile(pattern, re.ASCII)
    parts = []
    for word in pattern.split("."):
        if word == "$":
            parts.append(rf"(({_WORD})\.)")
        elif word == "**":
            parts.append(".*")
        else:
            parts.append((_WORD if word == "*" else re.escape(word)) + r"\.")
    return re.compile("^" + "".join(parts), re.ASCII)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
