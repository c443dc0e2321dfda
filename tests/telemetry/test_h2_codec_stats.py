"""What the codec of HTTP/2 counted becomes statistics when these are flushed."""

from __future__ import annotations

from pyproxy.http.h2_counts import FLOODS, H2Counts
from pyproxy.telemetry.h2_codec_stats import H2Owner
from pyproxy.telemetry.metrics import StatsStore


def owner(store: StatsStore, side: str = "downstream") -> H2Owner:
    return H2Owner(store, store.root, side)


def test_there_are_none_before_the_first_connection() -> None:
    store = StatsStore()
    owner(store)
    store.flush()
    assert not any(name.startswith("http2.") for name in store.root.stats)


def test_several_owners_are_added_up() -> None:
    store = StatsStore()
    one, other = owner(store), owner(store)
    for each in (one, other):
        each.counts.connections += 1
        each.counts.streams += 2
        each.counts.rx_reset += 3
    store.flush()
    assert store.counter("http2.nghttp2_downstream_connections").value == 2
    assert store.counter("http2.rx_reset").value == 6
    assert store.gauge("http2.streams_active").value == 4
    one.counts.streams -= 2
    other.counts.rx_reset += 1
    store.flush()
    assert store.gauge("http2.streams_active").value == 2
    assert store.counter("http2.rx_reset").value == 7


def test_what_an_owner_leaves_behind() -> None:
    store = StatsStore()
    one = owner(store, "upstream")
    one.counts.connections += 1
    one.counts.tx_reset += 1
    one.close()
    assert store.counter("http2.nghttp2_upstream_connections").value == 1
    assert store.counter("http2.tx_reset").value == 1
    one.counts.tx_reset += 1
    store.flush()
    assert store.counter("http2.tx_reset").value == 1


def test_floods_by_their_reasons() -> None:
    counts = H2Counts()
    for why in (*FLOODS, "something else"):
        counts.flood(why)
    assert all(getattr(counts, name) == 1 for name in FLOODS.values())
