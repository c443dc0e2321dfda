"""What requests are spread by: cookies that are made, headers, queries, and where nothing is found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.case import Case, cluster, get, in_turn, route
from tests.oracle.conftest import Pair
from tests.support.upstream import OK, reply


def hashed(name: str, *policies: Any, send: Any = None, **fields: Any) -> Case:
    return Case(
        id=name,
        clusters=[cluster("ring", lb_policy="RING_HASH"), cluster("table", lb_policy="MAGLEV")],
        routes=[{**route(cluster=fields.pop("cluster", "ring"), hash_policy=list(policies)), **fields}],
        send=send or [get("/?q=1", "x-key: 1", "cookie: a=1; c=two")],
        upstream=[reply("200 OK", b"ok", "x-first: 1", "set-cookie: own=1"), OK],
        status=200 if send is None else (200,) * len([one for one in send if isinstance(one, bytes)]),
        # The value of a new cookie comes of the ports of the connection.
        ignore=("reply.*.headers",) if "new" in name else (),
    )


CASES = [
    hashed("header", {"header": {"header_name": "x-key"}}),
    hashed("header-absent", {"header": {"header_name": "x-absent"}}),
    hashed("query", {"query_parameter": {"name": "q"}}, cluster="table"),
    hashed("source-ip", {"connection_properties": {"source_ip": True}}),
    hashed("cookie-that-is-there", {"cookie": {"name": "c", "ttl": "60s"}}),
    hashed("cookie-not-made", {"cookie": {"name": "absent"}}),
    hashed("cookie-of-a-cluster-without-hash", {"cookie": {"name": "new", "ttl": "60s"}}, cluster="up"),
    hashed(
        "several", {"header": {"header_name": "x-key"}, "terminal": True}, {"cookie": {"name": "none", "ttl": "0s"}}
    ),
    hashed("cookie-new", {"cookie": {"name": "n", "ttl": "60s", "path": "/p"}}, send=in_turn(get("/"), get("/"))),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("hash_policies")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    theirs, ours = pair.play(case)
    assert ours is not None
    for number in range(int(theirs["reply.count"])):
        key = f"reply.{number}.headers"
        assert _without_value(theirs[key]) == _without_value(ours[key])
    pair.check(case)


def _without_value(headers: str) -> list[str]:
    """Sixteen hexadecimal digits are left out of a cookie."""
    lines = [line for line in headers.splitlines() if line.startswith("set-cookie")]
    return [line.replace(line.split('"')[1], str(len(line.split('"')[1]))) if '"' in line else line for line in lines]
