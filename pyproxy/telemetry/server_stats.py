"""What Envoy counts of the process as a whole: `server.`, `runtime.`, `filesystem.`."""

from __future__ import annotations

from pyproxy.telemetry.metrics import Counter, Gauge, Histogram, StatsStore
from pyproxy.telemetry.stat_blocks import StatsBlock


class ServerStats(StatsBlock):
    """`server.`: kept by the manager process, one value for all. `worker_restarts` is ours."""

    PREFIX = "server"

    debug_assertion_failures: Counter
    dropped_stat_flushes: Counter
    dynamic_unknown_fields: Counter
    envoy_bug_failures: Counter
    static_unknown_fields: Counter
    wip_protos: Counter
    worker_restarts: Counter
    concurrency: Gauge
    days_until_first_cert_expiring: Gauge
    hot_restart_epoch: Gauge
    hot_restart_generation: Gauge
    live: Gauge
    memory_allocated: Gauge
    memory_heap_size: Gauge
    memory_physical_size: Gauge
    parent_connections: Gauge
    seconds_until_first_ocsp_response_expiring: Gauge
    state: Gauge
    total_connections: Gauge
    uptime: Gauge
    version: Gauge
    initialization_time_ms: Histogram


class WatchdogStats(StatsBlock):
    """`server.<thread>.`, the thread being `main_thread` or `worker_<n>`: how often its loop was late."""

    PREFIX = "server"

    watchdog_mega_miss: Counter
    watchdog_miss: Counter


class RuntimeStats(StatsBlock):
    """`runtime.`: the layers of RuntimeValues."""

    PREFIX = "runtime"

    deprecated_feature_use: Counter
    load_error: Counter
    load_success: Counter
    override_dir_exists: Counter
    override_dir_not_exists: Counter
    admin_overrides_active: Gauge
    num_keys: Gauge
    num_layers: Gauge


class FilesystemStats(StatsBlock):
    """`filesystem.`: log files. `write_dropped` counts lines that a slow or broken sink has cost; it is ours."""

    PREFIX = "filesystem"

    flushed_by_timer: Counter
    reopen_failed: Counter
    write_buffered: Counter
    write_completed: Counter
    write_dropped: Counter
    write_failed: Counter
    write_total_buffered: Gauge

    def __init__(self, store: StatsStore) -> None:
        super().__init__(store)
