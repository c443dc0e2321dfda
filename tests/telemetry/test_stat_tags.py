"""Names and labels as Envoy gives them; `test_envoy_stats` compares those that a running Envoy has."""

from __future__ import annotations

import pytest

from pyproxy.telemetry.stat_tags import TagExtractor


@pytest.mark.parametrize(
    ("name", "metric", "labels"),
    [
        ("server.live", "envoy_server_live", ""),
        ("cluster.blue.upstream_cx_total", "envoy_cluster_upstream_cx_total", 'envoy_cluster_name="blue"'),
        (
            "cluster.blue.external.upstream_rq_404",
            "envoy_cluster_external_upstream_rq",
            'envoy_response_code="404",envoy_cluster_name="blue"',
        ),
        (
            "cluster.blue.upstream_rq_5xx",
            "envoy_cluster_upstream_rq_xx",
            'envoy_response_code_class="5",envoy_cluster_name="blue"',
        ),
        ("cluster.a.b.upstream_rq_total", "envoy_cluster_b_upstream_rq_total", 'envoy_cluster_name="a"'),
        ("cluster_manager.active_clusters", "envoy_cluster_manager_active_clusters", ""),
        (
            "http.in.downstream_rq_2xx",
            "envoy_http_downstream_rq_xx",
            'envoy_response_code_class="2",envoy_http_conn_manager_prefix="in"',
        ),
        (
            "listener.[__1]_80.http.in.downstream_rq_completed",
            "envoy_listener_http_downstream_rq_completed",
            'envoy_http_conn_manager_prefix="in",envoy_listener_address="[__1]_80"',
        ),
        (
            "listener.0.0.0.0_80.worker_12.downstream_cx_total",
            "envoy_listener_worker_downstream_cx_total",
            'envoy_worker_id="12",envoy_listener_address="0.0.0.0_80"',
        ),
        (
            "listener.edge.downstream_cx_total",
            "envoy_listener_downstream_cx_total",
            'envoy_listener_address="edge"',
        ),
        ("listener.admin.downstream_cx_total", "envoy_listener_admin_downstream_cx_total", ""),
        ("server.worker_0.watchdog_miss", "envoy_server_worker_watchdog_miss", 'envoy_worker_id="0"'),
        (
            "vhost.shop.vcluster.buy.upstream_rq_200",
            "envoy_vhost_vcluster_upstream_rq",
            'envoy_response_code="200",envoy_virtual_cluster="buy",envoy_virtual_host="shop"',
        ),
        (
            "vhost.shop.route.all.upstream_rq_time",
            "envoy_vhost_route_upstream_rq_time",
            'envoy_virtual_host="shop",envoy_route="all"',
        ),
        (
            "cluster.g.grpc.pkg_Service.Method.success",
            "envoy_cluster_grpc_success",
            'envoy_grpc_bridge_method="Method",envoy_grpc_bridge_service="pkg_Service",envoy_cluster_name="g"',
        ),
        (
            "http.in.rds.main.routes.update_success",
            "envoy_http_rds_update_success",
            'envoy_http_conn_manager_prefix="in",envoy_rds_route_config="main.routes"',
        ),
        ("tcp.db.downstream_cx_total", "envoy_tcp_downstream_cx_total", 'envoy_tcp_prefix="db"'),
        (
            "edge.http_local_rate_limit.enabled",
            "envoy_http_local_rate_limit_enabled",
            'envoy_local_http_ratelimit_prefix="edge"',
        ),
        ("my-filter.made.up", "envoy_my_filter_made_up", ""),
    ],
)
def test_labels(name: str, metric: str, labels: str) -> None:
    tagged = TagExtractor()(name)
    assert (tagged.metric, tagged.labels) == (metric, labels)


def test_fixed_tags_are_on_every_stat_and_escaped() -> None:
    tags = TagExtractor((("a.b", 'x"y\\z\n'), ("region", "eu")))
    assert tags("server.live").labels == 'a_b="x\\"y\\\\z\\n",region="eu"'
    assert tags("cluster.c.x").labels == 'a_b="x\\"y\\\\z\\n",region="eu",envoy_cluster_name="c"'
