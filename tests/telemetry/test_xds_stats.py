from __future__ import annotations

from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.shared_reader import StatsReader
from pyproxy.telemetry.shared_stats import StatsArea
from pyproxy.telemetry.xds_stats import ControlPlaneStats, SubscriptionStats


def test_a_version_is_shown_without_a_sign() -> None:
    """A hash of 64 bits, of which the first may be set."""
    area = StatsArea("xds", 65536)
    store = StatsStore(area)
    stats = SubscriptionStats(store, "cluster_manager.cds")
    stats.version.value = -1
    stats.version_text.value = "v1"
    store.flush()
    snapshot = StatsReader((area,)).snapshot(unused=False)
    assert snapshot.gauges["cluster_manager.cds.version"] == 0xFFFF_FFFF_FFFF_FFFF
    assert snapshot.texts["cluster_manager.cds.version_text"] == "v1"


def test_names() -> None:
    store = StatsStore()
    ControlPlaneStats(store).connected_state.value = 1
    ControlPlaneStats(store, "sds.default").connected_state.value = 1
    assert store.gauge("control_plane.connected_state").value == 1
    assert store.gauge("sds.default.control_plane.connected_state").value == 1
