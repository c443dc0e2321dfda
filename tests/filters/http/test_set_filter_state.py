from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.extensions import CompileContext
from pyproxy.config.filter_state import SharedState
from pyproxy.config.invalid import InvalidConfig
from pyproxy.filters.builtin import EXTENSIONS
from pyproxy.filters.http import set_filter_state
from pyproxy.filters.http.set_filter_state import SetFilterState
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from tests.config.compiling import as_yaml, unread, view

TYPE = "envoy.extensions.filters.http.set_filter_state.v3.Config"


def state(key: str, text: str, **more: Any) -> dict[str, Any]:
    return {"object_key": key, "format_string": {"text_format_source": {"inline_string": text}}, **more}


def built(*values: dict[str, Any]) -> SetFilterState:
    seen = view(TYPE, as_yaml({"on_request_headers": list(values)}))
    config = set_filter_state.compile(seen, CompileContext(EXTENSIONS))
    seen.report.raise_if_faulty()
    assert unread(seen) == []
    return SetFilterState(config)


async def through(one: SetFilterState, connection: ConnectionInfo) -> Request:
    request = Request(b"CONNECT", b"", b"1.2.3.4:80", Headers(), StreamInfo(0.0, 0.0, connection))

    async def end(request: Request) -> Response:
        return Response(200, Headers())

    await one(request, end)
    return request


async def test_what_is_set_is_the_request_s_alone() -> None:
    connection = ConnectionInfo()
    connection.filter_state = {"before": "1"}
    one = built(state("a", "%REQ(:AUTHORITY)%", factory_key="envoy.string"))
    request = await through(one, connection)
    assert request.info.connection.filter_state == {"before": "1", "a": "1.2.3.4:80"}
    assert connection.filter_state == {"before": "1"}


async def test_what_goes_along_to_internal_listeners() -> None:
    key = "envoy.filters.listener.original_dst.local_ip"
    one = built(state(key, "%REQ(:AUTHORITY)%", shared_with_upstream="ONCE"), state(key, "nonsense"))
    info = (await through(one, ConnectionInfo())).info.connection
    assert info.shared_state == (SharedState(key, key, "1.2.3.4:80"),)
    assert info.wants_more


async def test_names_for_the_upstream() -> None:
    one = built(state("envoy.network.upstream_server_name", "a.test"))
    info = (await through(one, ConnectionInfo())).info.connection
    assert info.upstream_server_name == "a.test"


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(InvalidConfig, match="kind of object"):
        built(state("envoy.unheard.of", "x"))
