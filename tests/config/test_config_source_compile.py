from __future__ import annotations

import pytest

from pyproxy.config.config_source import (
    AdsSourceConfig,
    ApiSourceConfig,
    ApiType,
    BackOffConfig,
    CallCredential,
    ConfigSourceConfig,
    GoogleGrpcConfig,
    GrpcServiceConfig,
    PathSourceConfig,
    RateLimitConfig,
)
from pyproxy.config.config_source_compile import compile_config_source, compile_dynamic_resources
from pyproxy.config.invalid import InvalidConfig
from tests.config.compiling import CONTEXT, view

SOURCE = "envoy.config.core.v3.ConfigSource"
DYNAMIC = "envoy.config.bootstrap.v3.Bootstrap.DynamicResources"


def compiled(text: str) -> ConfigSourceConfig:
    return compile_config_source(view(SOURCE, text), CONTEXT)


def fault(text: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        compiled(text)
    return str(caught.value)


def api(text: str) -> str:
    return f"api_config_source: {{transport_api_version: V3, {text}}}"


def test_files_and_ads() -> None:
    assert compiled("path_config_source: {path: /x, watched_directory: {path: /y}}") == ConfigSourceConfig(
        PathSourceConfig("/x", "/y")
    )
    assert compiled("{ads: {}, initial_fetch_timeout: 0s}") == ConfigSourceConfig(AdsSourceConfig(), 0.0)


def test_grpc_through_a_cluster() -> None:
    service = """{envoy_grpc: {cluster_name: a, authority: xds, retry_policy: {retry_back_off: {base_interval: 1s}}},
        timeout: 3s, initial_metadata: [{key: X-Token, value: 100%%}]}"""
    seen = view(SOURCE, api(f"api_type: DELTA_GRPC, set_node_on_first_message_only: true, grpc_services: [{service}]"))
    assert compile_config_source(seen, CONTEXT).source == ApiSourceConfig(
        ApiType.DELTA_GRPC,
        services=(GrpcServiceConfig("a", "xds", None, 3.0, (("x-token", "100%"),), BackOffConfig(1.0, 10.0)),),
        set_node_on_first_message_only=True,
    )
    assert seen.unread() == []


def test_google_grpc_reads_its_token_from_a_file() -> None:
    google = """{target_uri: "unix:///run/xds", stat_prefix: s, channel_args: {args: {
        grpc.keepalive_time_ms: {int_value: 10000}, grpc.keepalive_timeout_ms: {int_value: 30000},
        grpc.max_receive_message_length: {int_value: 99}}},
        call_credentials: [{access_token: t}, {from_plugin: {name: file, typed_config: {
            "@type": type.googleapis.com/envoy.config.grpc_credential.v3.FileBasedMetadataConfig,
            secret_data: {filename: /token}, header_prefix: "Bearer "}}}]}"""
    source = compiled(api(f"api_type: GRPC, grpc_services: [{{google_grpc: {google}}}]")).source
    assert isinstance(source, ApiSourceConfig)
    (service,) = source.services
    assert service.max_receive_message_length == 99
    assert service.google == GoogleGrpcConfig(
        "unix:///run/xds",
        credentials=(CallCredential(prefix="Bearer ", token="t"), CallCredential(prefix="Bearer ", file="/token")),
        keepalive=(10.0, 30.0),
    )


def test_a_token_does_not_travel_in_plain_text() -> None:
    google = "{target_uri: 'example.com:1', stat_prefix: s, call_credentials: [{access_token: t}]}"
    assert "plain text" in fault(api(f"api_type: GRPC, grpc_services: [{{google_grpc: {google}}}]"))


def test_rest() -> None:
    source = compiled(api("api_type: REST, cluster_names: [b], refresh_delay: 0.5s")).source
    assert source == ApiSourceConfig(ApiType.REST, clusters=("b",), refresh_delay=0.5)


def test_rate_limit() -> None:
    text = "api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: a}}], rate_limit_settings: {fill_rate: 3}"
    source = compiled(api(text)).source
    assert isinstance(source, ApiSourceConfig)
    assert source.rate_limit == RateLimitConfig(100, 3.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("initial_fetch_timeout: 1s", "says nothing"),
        (api("api_type: REST, cluster_names: [a]"), "refresh_delay: is required"),
        (api("api_type: REST, cluster_names: [a, b], refresh_delay: 1s"), "holds 2 names"),
        (api("api_type: REST, cluster_names: [c], refresh_delay: 1s"), "unknown cluster 'c'"),
        (api("api_type: GRPC"), "holds 0 services"),
        (api("api_type: GRPC, cluster_names: [a]"), "is for REST"),
        (api("api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: ab}}]"), "unknown cluster 'ab'"),
        ("api_config_source: {api_type: GRPC}", "transport_api_version"),
        (
            api(
                "api_type: GRPC, grpc_services: [{google_grpc: {target_uri: h, call_credentials: [{google_iam: {}}]}}]"
            ),
            "google_iam: is not supported",
        ),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    assert reason in fault(text)


def test_ads_without_a_stream() -> None:
    with pytest.raises(InvalidConfig, match="there is no ads_config"):
        compile_dynamic_resources(view(DYNAMIC, "lds_config: {ads: {}}"), CONTEXT)


def test_dynamic_resources() -> None:
    text = """
        cds_config: {ads: {}, resource_api_version: V3}
        lds_resources_locator: xdstp://a/envoy.config.listener.v3.Listener/*
        lds_config: {ads: {}}
        ads_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: a}}]}
        """
    seen = view(DYNAMIC, text)
    found = compile_dynamic_resources(seen, CONTEXT)
    assert found.cds == found.lds == ConfigSourceConfig(AdsSourceConfig())
    assert found.ads is not None
    assert found.ads.services[0].cluster == "a"
    assert seen.unread() == []
