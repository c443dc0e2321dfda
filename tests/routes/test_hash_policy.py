from __future__ import annotations

from pyproxy.config.route import HashKind, HashPolicyConfig
from pyproxy.routes.hash_policy import NOTHING, build_hash, hash64
from tests.http.requests import make_request


def test_filter_state_of_the_request_goes_before_that_of_its_connection() -> None:
    hash_of = build_hash((HashPolicyConfig(HashKind.FILTER_STATE, "k"),))
    assert hash_of is not None
    request = make_request()
    assert hash_of(request) == NOTHING
    request.info.connection.filter_state = {"other": "x", "k": "one"}
    assert hash_of(request) == hash64(b"one")
    request.info.filter_state = {"k": "two"}
    assert hash_of(request) == hash64(b"two")
