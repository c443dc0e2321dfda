from __future__ import annotations

import pytest

from pyproxy.xds_client.protocol import types
from pyproxy.xds_client.transport.methods import NoMethod, aggregated_path, rest_path, stream_path


def test_paths() -> None:
    assert aggregated_path(delta=True).endswith("AggregatedDiscoveryService/DeltaAggregatedResources")
    assert stream_path(types.LISTENER, delta=False) == (
        "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners"
    )
    assert rest_path(types.SCOPED_ROUTES) == "/v3/discovery:scoped-routes"


def test_types_that_cannot_be_asked_for() -> None:
    with pytest.raises(NoMethod):
        rest_path(types.VIRTUAL_HOST)
    with pytest.raises(NoMethod):
        stream_path("type.googleapis.com/google.protobuf.Empty", delta=False)
