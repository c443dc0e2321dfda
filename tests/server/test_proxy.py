from __future__ import annotations

from typing import Any

from pyproxy.server.proxy import merge_clusters


def host(address: str, total: int, active: int) -> dict[str, Any]:
    return {"address": address, "counters": {"rq_total": total}, "gauges": {"rq_active": active}}


def cluster(name: str, *hosts: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "observability_name": name, "hosts": list(hosts)}


def test_the_numbers_of_the_workers_are_added_and_their_hosts_united() -> None:
    merged = merge_clusters(
        [
            [cluster("b", host("1", 1, 1), host("2", 2, 0)), cluster("a")],
            [cluster("b", host("2", 3, 4), host("3", 5, 0))],
        ]
    )
    assert [(c["name"], c["hosts"]) for c in merged] == [
        ("a", []),
        ("b", [host("1", 1, 1), host("2", 5, 4), host("3", 5, 0)]),
    ]


def test_the_same_host_in_two_clusters_is_two_hosts() -> None:
    merged = merge_clusters([[cluster("a", host("1", 1, 0)), cluster("b", host("1", 2, 0))]])
    assert [c["hosts"][0]["counters"]["rq_total"] for c in merged] == [1, 2]


def test_nobody_answered() -> None:
    assert merge_clusters([]) == []


def test_what_one_worker_has_against_a_host_is_shown() -> None:
    def one(flags: str) -> dict[str, Any]:
        return {"name": "a", "hosts": [{**host("1", 0, 0), "health_flags": flags}]}

    (merged,) = merge_clusters([[one("healthy")], [one("/failed_outlier_check")], [one("/failed_active_hc")]])
    assert merged["hosts"][0]["health_flags"] == "/failed_outlier_check/failed_active_hc"
