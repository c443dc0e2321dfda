"""Envoy's command line. The verdicts are those of Envoy 1.40."""

from __future__ import annotations

import pytest

from pyproxy.server.flags import FLAGS, Early, Options, UsageError

ENVOYS = """
stats-tag enable-core-dump socket-mode socket-path disable-extensions cpuset-threads enable-mutex-tracing
disable-hot-restart mode parent-shutdown-time-s drain-strategy drain-time-s file-flush-min-size-kb
file-flush-interval-msec service-zone service-node service-cluster hot-restart-version restart-epoch log-path
enable-fine-grain-logging log-format-escaped log-format component-log-level log-level local-address-ip-version
admin-address-path log-stacktrace-single-entry skip-deprecated-logs ignore-unknown-dynamic-fields
reject-unknown-dynamic-fields allow-unknown-static-fields allow-unknown-fields config-yaml config-path concurrency
base-id-path skip-hot-restart-parent-stats skip-hot-restart-on-no-parent use-dynamic-base-id base-id version help
"""


def test_every_flag_of_envoy_is_taken() -> None:
    assert {flag.name for flag in FLAGS} == set(ENVOYS.split())


LAUNCHERS = {
    "istio": """
        -c envoy-rev.json --drain-time-s 45 --drain-strategy immediate --local-address-ip-version v4
        --file-flush-interval-msec 1000 --disable-hot-restart --allow-unknown-static-fields -l warning
        --component-log-level misc:error --skip-deprecated-logs --concurrency 2
        """,
    "consul-dataplane": "--config-yaml {} --log-format %v --log-level info --disable-hot-restart --base-id 3",
    "kuma-dp": """
        --config-path b.yaml --drain-time-s 30 --drain-strategy immediate --disable-hot-restart --log-level info
        --cpuset-threads
        """,
    "go-control-plane": "-c b.yaml --drain-time-s 1 -l debug",
    "ecs-agent": "-c b.yaml -l info --concurrency 2 --drain-time-s 20 --disable-hot-restart --skip-deprecated-logs",
    "envoy-gateway": """
        --service-cluster C --service-node N --config-yaml {} --log-level warn --cpuset-threads --drain-time-s 60
        """,
}


@pytest.mark.parametrize("line", LAUNCHERS.values(), ids=LAUNCHERS)
def test_how_the_launchers_start_envoy(line: str) -> None:
    assert Options.parse(line.split()).mode == "serve"


def test_values_get_where_they_belong() -> None:
    line = "-c f --concurrency=3 -l warn --stats-tag a:b --stats-tag c:d --mode validate --base-id 7"
    components = "--component-log-level upstream:debug,config:trace --allow-unknown-fields"
    options = Options.parse(f"{line} {components}".split())
    assert (options.config_path, options.concurrency, options.log_level, options.mode) == ("f", 3, "warn", "validate")
    assert options.stats_tag == ("a:b", "c:d")
    assert options.component_levels == {"upstream": "debug", "config": "trace"}
    assert options.allows_unknown_fields
    assert options.without_meaning == ("--base-id",)


def test_defaults_are_envoys() -> None:
    options = Options.parse([])
    assert (options.drain_time_s, options.drain_strategy, options.file_flush_interval_msec) == (600, "gradual", 10_000)
    assert (options.concurrency, options.component_levels, options.without_meaning) == (None, {}, ())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--concurency", "2"], "unknown flag '--concurency'; did you mean '--concurrency'?"),
        (["--bogus"], "unknown flag '--bogus'; see --help"),
        (["-x"], "unknown flag '-x'"),
        (["--log", "debug"], "unknown flag '--log'"),
        (["-ldebug"], "write '-l' and its value as two words"),
        (["--config-path", "a", "extra"], "'extra' is not a flag"),
        (["-c"], "-c, --config-path: needs a value, FILE"),
        (["-c", "a", "--config-path", "b"], "-c, --config-path: given twice"),
        (["--cpuset-threads=1"], "--cpuset-threads: takes no value"),
        (["--concurrency", "abc"], "expected a whole number from 0 to 4294967295"),
        (["--concurrency", "-1"], "expected a whole number"),
        (["--concurrency", "0x2"], "expected a whole number"),
        (["--drain-time-s", "5s"], "expected a whole number"),
        (["--file-flush-interval-msec", "99999999999"], "expected a whole number"),
        (["-l", "WARN"], "did you mean 'warn'?"),
        (["-l", "bogus"], "expected one of trace, debug, info, warning, warn, error, critical, off"),
        (["--mode", "InitOnly"], "did you mean 'init_only'?"),
        (["--drain-strategy", "x"], "expected one of gradual, immediate"),
        (["--local-address-ip-version", "v5"], "expected one of v4, v6"),
        (["--component-log-level", "main"], "expected component:level pairs"),
        (["--component-log-level", "upstrem:debug"], "did you mean 'upstream'?"),
        (["--component-log-level", "main:loud"], "expected one of trace"),
        (["--stats-tag", "a"], "expected tag:value"),
        (["--stats-tag", "a:b.c"], "expected tag:value"),
        (["--stats-tag", "a-b:c"], "expected tag:value"),
        (["--bogus", "--version"], "unknown flag '--bogus'"),
    ],
)
def test_what_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Options.parse(words)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("words", "early"),
    [
        (["--version", "-c", "x"], Early.VERSION),
        (["-h", "--bogus"], Early.HELP),
        (["-l", "debug", "--help"], Early.HELP),
        (["--hot-restart-version"], Early.HOT_RESTART_VERSION),
    ],
)
def test_flags_that_end_the_program_come_before_later_mistakes(words: list[str], early: Early) -> None:
    assert Options.parse(words).early is early


def test_two_dashes_end_the_flags() -> None:
    assert Options.parse(["-c", "a", "--", "--bogus", "x"]).config_path == "a"
