"""Which statistics are shown, with which buckets, and tags of one's own."""

from __future__ import annotations

import pytest

from pyproxy.config.matchers import StringKind, StringMatch
from pyproxy.config.stats import BucketRule, StatsMatcher, TagRule
from pyproxy.telemetry.histogram import BUCKETS
from pyproxy.telemetry.stat_tags import TagExtractor
from pyproxy.telemetry.stats_rules import StatsRules

CLUSTERS = StringMatch(StringKind.PREFIX, "cluster.")


@pytest.mark.parametrize(
    ("matcher", "shown"),
    [
        (StatsMatcher(), ["cluster.a", "http.b"]),
        (StatsMatcher((CLUSTERS,)), ["http.b"]),
        (StatsMatcher((CLUSTERS,), inclusive=True), ["cluster.a"]),
        (StatsMatcher((StringMatch(StringKind.PREFIX, ""),)), []),
        (StatsMatcher((StringMatch(StringKind.REGEX, ".*b|x"),), inclusive=True), ["http.b"]),
    ],
)
def test_shows(matcher: StatsMatcher, shown: list[str]) -> None:
    rules = StatsRules(matcher)
    for _ in range(2):
        assert [name for name in ("cluster.a", "http.b") if rules.shows(name)] == shown


def test_the_first_rule_gives_the_buckets() -> None:
    rules = StatsRules(
        buckets=(BucketRule(CLUSTERS, (1.0, 2.0)), BucketRule(StringMatch(StringKind.SUFFIX, "a"), (3.0,)))
    )
    assert [rules.bounds(name) for name in ("cluster.a", "http.a", "http.b")] == [(1.0, 2.0), (3.0,), BUCKETS]


@pytest.mark.parametrize(
    ("rules", "defaults", "bare", "tags"),
    [
        ((), True, "cluster.upstream_rq", {"envoy.cluster_name": "blue", "envoy.response_code": "200"}),
        ((), False, "cluster.blue.upstream_rq_200", {}),
        ((TagRule("envoy.cluster_name"),), False, "cluster.upstream_rq_200", {"envoy.cluster_name": "blue"}),
        ((TagRule("one", r"^cluster\.((bl.e)\.)"),), False, "cluster.upstream_rq_200", {"one": "blue"}),
        ((TagRule("whole", r"(_200)"),), False, "cluster.blue.upstream_rq", {"whole": "_200"}),
        (
            (TagRule("inside", r"\.((bl)ue\.)"),),
            True,
            "cluster.upstream_rq",
            {"envoy.cluster_name": "blue", "envoy.response_code": "200", "inside": "bl"},
        ),
    ],
)
def test_tags(rules: tuple[TagRule, ...], defaults: bool, bare: str, tags: dict[str, str]) -> None:
    found = TagExtractor((), rules, defaults=defaults)("cluster.blue.upstream_rq_200")
    assert ".".join(found.order) == bare
    assert dict(found.tags) == tags
