"""What changed among the resources, as events."""

from __future__ import annotations

from typing import Any, cast

from pyproxy.config.resources import ResourceType
from pyproxy.server.discovery.news import MOST_NAMED, ResourceNews
from pyproxy.telemetry.events import EventOutbox, Severity
from tests.server.discovery.world import Loop


class World:
    def __init__(self) -> None:
        self.loop = Loop()
        self.events = EventOutbox()
        self.news = ResourceNews(cast(Any, self.loop), self.events)

    def told(self) -> list[tuple[str, str, str]]:
        self.loop.turn()
        return [(one.kind.value, one.subject, one.message) for one in self.events.take()]


def test_what_came_at_once_is_one_event() -> None:
    world = World()
    for name in ("a", "b"):
        world.news.applied(ResourceType.CLUSTER, name, "7")
    world.news.applied(ResourceType.ROUTES, "r\0path", "1")
    world.news.removed(ResourceType.CLUSTER, "c")
    assert world.told() == [
        ("config.applied", "cds", "applied 2 clusters: a, b"),
        ("config.applied", "rds", "applied 1 tables of routes: r"),
        ("config.removed", "cds", "removed 1 clusters: c"),
    ]
    assert world.told() == []


def test_thousands_are_not_all_named() -> None:
    world = World()
    for number in range(5000):
        world.news.warmed(ResourceType.CLUSTER, str(number))
    world.loop.turn()
    (event,) = world.events.take()
    assert event.kind.value == "cluster.warmed"
    assert event.fields["count"] == 5000
    assert len(event.fields["names"]) == MOST_NAMED
    assert event.message.endswith(", 19 and 4980 more")


def test_a_refusal_is_told_once_until_it_is_another() -> None:
    world = World()
    for reason in ("no", "no", "never"):
        world.news.rejected(ResourceType.LISTENER, "l", "1", reason)
        world.loop.turn()
    first, second = world.events.take()
    assert first.severity is Severity.ERROR
    assert first.message == "refused 1 listeners, what was in force stays: l: no"
    assert first.fields["reasons"] == {"l": "no"}
    assert second.fields["reasons"] == {"l": "never"}
    world.news.applied(ResourceType.LISTENER, "l", "2")
    world.news.rejected(ResourceType.LISTENER, "l", "1", "never")
    assert [kind for kind, _, _ in world.told()] == ["config.applied", "config.rejected"]


def test_a_listener_that_is_new() -> None:
    world = World()
    world.news.added("web", ["127.0.0.1:80"])
    assert world.told() == [("listener.added", "web", "listens on 127.0.0.1:80")]


def test_every_type_has_words() -> None:
    world = World()
    for kind in ResourceType:
        world.news.applied(kind, "x", "")
    assert len(world.told()) == len(ResourceType)
