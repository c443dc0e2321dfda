"""Type URLs, known and mistaken."""

from __future__ import annotations

import pytest

from pyproxy.config.descriptors import UnknownType, class_of_url, message_class

ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


@pytest.mark.parametrize("url", [ROUTER, "example.com/envoy.extensions.filters.http.router.v3.Router"])
def test_the_host_of_a_type_url_does_not_matter(url: str) -> None:
    assert class_of_url(url) is message_class("envoy.extensions.filters.http.router.v3.Router")


@pytest.mark.parametrize(
    ("url", "nearest"),
    [
        ("type.googleapis.com/envoy.extensions.filters.http.routr.v3.Router", ROUTER),
        ("type.googleapis.com/envoy.extensions.filters.http.router.v3.Ruoter", ROUTER),
        ("type.googleapis.com/envoy.config.filter.http.router.v2.Router", ROUTER),
        ("type.googleapis.com/no.Such", ""),
    ],
)
def test_an_unknown_type_comes_with_the_nearest_one(url: str, nearest: str) -> None:
    with pytest.raises(UnknownType, match="unknown type") as caught:
        class_of_url(url)
    assert caught.value.nearest == nearest


def test_the_old_api_is_named() -> None:
    with pytest.raises(UnknownType) as caught:
        class_of_url("type.googleapis.com/envoy.api.v2.Cluster")
    assert "v2 API is gone" in caught.value.expected
    assert caught.value.nearest == "type.googleapis.com/envoy.config.cluster.v3.Cluster"
