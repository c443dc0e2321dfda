"""Files with resources: of every kind of file, changed in every way, and never half."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pyproxy.config.config_source import PathSourceConfig
from pyproxy.config.descriptors import message_class
from pyproxy.config.invalid import InvalidConfig
from pyproxy.xds_client import path_source
from pyproxy.xds_client.path_source import PathSource, read_response
from pyproxy.xds_client.subscription import Update

URL = "type.googleapis.com/"
CLUSTER = f"{URL}envoy.config.cluster.v3.Cluster"
ENDPOINTS = f"{URL}envoy.config.endpoint.v3.ClusterLoadAssignment"


class Sink:
    """Writes down what it is told, and refuses what is called `bad`."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.missing: list[str] = []
        self.failures: list[str] = []

    def on_update(self, update: Update) -> Mapping[str, str]:
        self.updates.append(update)
        return {one.name: "no" for one in update.added if one.name == "bad"}

    def on_missing(self, name: str) -> None:
        self.missing.append(name)

    def names(self) -> list[list[str]]:
        return [[one.name for one in update.added] for update in self.updates]


def text(*names: str, version: str = "1", type_url: str = CLUSTER) -> str:
    field = "name" if type_url == CLUSTER else "cluster_name"
    return json.dumps({"version_info": version, "resources": [{"@type": type_url, field: name} for name in names]})


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_source, "INTERVAL", 0.01)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def source(path: Path, sink: Sink, **more: Any) -> PathSource:
    config = PathSourceConfig(str(path), **more)
    return PathSource(asyncio.get_running_loop(), config, on_failure=lambda _, reason: sink.failures.append(reason))


@pytest.mark.parametrize("kind", ["yaml", "json", "pb", "pb_text"])
def test_each_kind_of_file(tmp_path: Path, kind: str) -> None:
    from google.protobuf import text_format

    from pyproxy.config.descriptors import pool

    file = tmp_path / f"x.{kind}"
    message: Any = message_class("envoy.service.discovery.v3.DiscoveryResponse")(version_info="7")
    cluster = message_class("envoy.config.cluster.v3.Cluster")(name="a")
    message.resources.add(type_url=CLUSTER, value=cluster.SerializeToString())
    match kind:
        case "yaml":
            file.write_text(f"version_info: '7'\nresources:\n- '@type': {CLUSTER}\n  name: a\n")
        case "json":
            file.write_text(text("a", version="7"))
        case "pb":
            file.write_bytes(message.SerializeToString())
        case _:
            file.write_text(text_format.MessageToString(message, descriptor_pool=pool()))
    version, ((type_url, resource),) = read_response(str(file))
    assert (version, type_url, resource.name, resource.body) == ("7", CLUSTER, "a", cluster.SerializeToString())


def test_a_wrapped_resource_has_a_name_and_a_version_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    wrapped = {
        "@type": f"{URL}envoy.service.discovery.v3.Resource",
        "name": "outer",
        "version": "9",
        "resource": {"@type": CLUSTER, "name": "a"},
    }
    file.write_text(json.dumps({"version_info": "1", "resources": [wrapped]}))
    _, ((_, resource),) = read_response(str(file))
    assert (resource.name, resource.version) == ("outer", "9")


def test_other_messages_are_no_resources(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"resources": [{"@type": f"{URL}envoy.config.core.v3.Node"}]}))
    with pytest.raises(InvalidConfig, match="Node is no resource"):
        read_response(str(file))


@pytest.mark.parametrize("how", ["moved", "in place", "behind a link"])
async def test_a_change_is_noticed(tmp_path: Path, how: str) -> None:
    file, sink = tmp_path / "x.json", Sink()
    if how == "behind a link":
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "x.json").write_text(text("a"))
        (tmp_path / "data").symlink_to("1")
        file.symlink_to(Path("data") / "x.json")
    else:
        file.write_text(text("a"))
    made = source(file, sink, **({"watched_directory": str(tmp_path)} if how == "behind a link" else {}))
    subscription = made.subscribe(CLUSTER, sink, {"*"})
    await until(lambda: sink.updates)
    if how == "moved":
        (tmp_path / "new").write_text(text("a", "b", version="2"))
        (tmp_path / "new").rename(file)
    elif how == "in place":
        file.write_text(text("a", "b", version="2"))
    else:
        (tmp_path / "2").mkdir()
        (tmp_path / "2" / "x.json").write_text(text("a", "b", version="2"))
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").rename(tmp_path / "data")
    await until(lambda: sink.names()[-1] == ["a", "b"])
    assert all(update.state_of_the_world for update in sink.updates)
    assert sink.updates[-1].version == "2"
    subscription.close()


async def test_what_cannot_be_read_is_told_and_nothing_else(tmp_path: Path) -> None:
    file, sink = tmp_path / "x.json", Sink()
    file.write_text(text("a"))
    subscription = source(file, sink).subscribe(CLUSTER, sink, {"*"})
    await until(lambda: sink.updates)
    (tmp_path / "new").write_text("{")
    (tmp_path / "new").rename(file)
    await until(lambda: sink.failures)
    assert sink.names() == [["a"]]
    (tmp_path / "new").write_text(text("b"))
    (tmp_path / "new").rename(file)
    await until(lambda: sink.names()[-1] == ["b"])
    subscription.close()


async def test_a_file_that_comes_later(tmp_path: Path) -> None:
    file, sink = tmp_path / "x.json", Sink()
    subscription = source(file, sink).subscribe(CLUSTER, sink, {"*"})
    await asyncio.sleep(0)
    assert sink.updates == []
    file.write_text(text("a"))
    await until(lambda: sink.updates)
    subscription.close()


async def test_only_what_is_watched_is_told_and_what_is_not_there_too(tmp_path: Path) -> None:
    file, sink = tmp_path / "x.json", Sink()
    file.write_text(text("a", "b", type_url=ENDPOINTS))
    subscription = source(file, sink).subscribe(ENDPOINTS, sink, {"a", "c"})
    await until(lambda: sink.missing)
    assert (sink.names(), sink.missing) == ([["a"]], ["c"])
    subscription.watch({"a", "b"})
    await until(lambda: sink.names()[-1] == ["b"])
    assert not sink.updates[-1].state_of_the_world
    subscription.close()
    subscription.watch({"a"})
    await asyncio.sleep(0)
    assert len(sink.updates) == 2


async def test_a_resource_of_another_type_refuses_them_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, sink = tmp_path / "x.json", Sink()
    file.write_text(text("a"))
    made = source(file, sink)
    subscription = made.subscribe(ENDPOINTS, sink, {"a"})
    other = Sink()
    also = made.subscribe(CLUSTER, other, {"*"})
    await until(lambda: other.updates)
    assert sink.updates == []
    assert "was expected" in caplog.text
    subscription.close()
    also.close()
