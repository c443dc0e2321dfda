from __future__ import annotations

import socket

import pytest

from pyproxy.config.filter_state import SharedState
from pyproxy.network.internal_listeners import InternalListeners, Passed


def test_both_ends_are_connected_and_what_goes_along_comes_first() -> None:
    came: list[tuple[socket.socket, str, Passed]] = []
    listeners = InternalListeners()
    listeners.open("a", lambda *what: came.append(what))
    passed = Passed({"m": {"x": 1}}, (SharedState("k", "envoy.string", "v"),))
    ours = listeners.connect("a", "id", passed)
    (theirs, endpoint_id, brought) = came[0]
    with ours, theirs:
        assert (endpoint_id, brought) == ("id", passed)
        assert not ours.getblocking()
        assert not theirs.getblocking()
        ours.send(b"x")
        assert theirs.recv(10) == b"x"


def test_who_is_not_there_refuses() -> None:
    listeners = InternalListeners()
    listeners.open("a", lambda *what: None)
    listeners.close("a")
    listeners.close("never there")
    with pytest.raises(ConnectionRefusedError):
        listeners.connect("a", "", Passed())
