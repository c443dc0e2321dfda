from __future__ import annotations

from pyproxy.control_plane.mesh_file import read_mesh
from pyproxy.control_plane.resources import LISTENER, SECRET, KeyPair
from pyproxy.control_plane.world import DAY, NotIssued, World
from tests.control_plane.test_mesh_file import WHOLE


class Authority:
    """Counts what it issued."""

    def __init__(self) -> None:
        self.issued: list[str] = []

    def __call__(self, spiffe_id: str, days: int) -> KeyPair:
        self.issued.append(spiffe_id)
        return KeyPair(f"chain {len(self.issued)}".encode(), b"key", b"root")


def test_certificates_are_issued_once_and_renewed_in_time() -> None:
    now = [0.0]
    authority, changes = Authority(), []
    world = World(authority, lambda: now[0], lambda: changes.append(now[0]))
    world.use(read_mesh(WHOLE, "m"))
    first = world.resources("back", "")[SECRET]
    assert world.resources("back", "")[SECRET] == first
    assert authority.issued == ["spiffe://example.org/back"]
    now[0] = 0.9 * DAY
    world.renew()
    assert world.resources("back", "")[SECRET] == first
    now[0] = DAY  # half of two days
    world.renew()
    assert world.resources("back", "")[SECRET] != first
    world.rotate()
    assert len(authority.issued) == 2
    world.resources("back", "")
    assert len(authority.issued) == 3
    assert changes == [0.0, DAY, DAY]


def test_a_file_that_says_the_same_changes_nothing() -> None:
    world = World(Authority(), lambda: 0.0)
    world.use(read_mesh(WHOLE, "m"))
    world.use(read_mesh(WHOLE + "\n# a comment", "m"))
    assert world.generation == 1


def test_strangers_get_no_certificate() -> None:
    authority = Authority()
    world = World(authority, lambda: 0.0)
    world.use(read_mesh(WHOLE, "m"))
    world.resources("nobody", "")
    assert authority.issued == []


def test_without_certificates_the_rest_is_served() -> None:
    def refuse(spiffe_id: str, days: int) -> KeyPair:
        raise NotIssued("the disk is full")

    world = World(refuse, lambda: 0.0)
    world.use(read_mesh(WHOLE, "m"))
    resources = world.resources("back", "")
    assert resources[LISTENER]
    assert not resources[SECRET]
    assert world.snapshot()["problem"] == "no certificate for back: the disk is full"
