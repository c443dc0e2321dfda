"""Paths that are cleaned, redirected or refused before they are routed."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, Json, get, in_turn, route, says
from tests.oracle.conftest import Pair

ROUTES = [says("admin", {"prefix": "/admin"}), route("/up"), says("other", {"prefix": "/"})]
DOUBTFUL = [
    "/admin",
    "//admin",
    "/./admin",
    "/x/../admin",
    "/x/%2e%2e/admin",
    "/%2e/admin",
    "/%61dmin",
    "/x/..;/admin",
    "/\\admin",
    "/x\\..\\admin",
    "/ADMIN",
    "/x/%252e%252e/admin",
    "/a//b///c",
    "/..",
    "/../../a",
    "/.",
    "/a/.",
    "/a/..",
    "/a/./b/?c=../d//e",
]
ESCAPED = ["/x%2fadmin", "/admin%2Fx", "/%2fadmin", "/x%5cadmin", "/x%5Cadmin", "/plain", "/up%2F?q=%2f"]


def paths(id: str, targets: list[str], status: int | tuple[int, ...] = 200, **hcm: object) -> Case:  # noqa: A002
    wanted = status if isinstance(status, tuple) else (status,) * len(targets)
    return Case(id=id, hcm=dict(hcm), routes=ROUTES, send=in_turn(*map(get, targets)), status=wanted)


ALL: Json = {
    "normalize_path": True,
    "merge_slashes": True,
    "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
}

CASES = [
    paths("untouched", DOUBTFUL),
    paths("normalized", DOUBTFUL, normalize_path=True),
    paths("not-normalized", DOUBTFUL[:6], normalize_path=False),
    paths("slashes-merged", DOUBTFUL, merge_slashes=True),
    paths("normalized-and-merged", DOUBTFUL, normalize_path=True, merge_slashes=True),
    paths("all", DOUBTFUL, **ALL),
    paths("normalized-upstream", ["/up/./a/../b", "/up//x", "/up/%7Ea/%41%2e"], normalize_path=True),
    paths("merged-upstream", ["/up//x///y?a//b"], merge_slashes=True),
    paths("escaped-kept", ESCAPED, path_with_escaped_slashes_action="KEEP_UNCHANGED"),
    paths("escaped-unescaped", ESCAPED, path_with_escaped_slashes_action="UNESCAPE_AND_FORWARD"),
    paths("escaped-all", ["/up/x%2f..%2fy", "/plain"], (307, 200), **ALL),
    Case(
        id="escaped-redirected",
        hcm={"path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT"},
        routes=ROUTES,
        send=in_turn(*map(get, ESCAPED)),
        status=(307, 307, 307, 307, 307, 200, 307),
    ),
    *(
        Case(
            id=f"escaped-rejected-{number}",
            hcm={"path_with_escaped_slashes_action": "REJECT_REQUEST"},
            routes=ROUTES,
            send=[get(target)],
            status=400,
        )
        for number, target in enumerate(("/x%2fadmin", "/x%5Cadmin"))
    ),
    Case(
        id="normalized-nul",
        hcm={"normalize_path": True},
        routes=ROUTES,
        send=[get("/a%00b")],
        status=400,
    ),
    Case(id="nul-untouched", routes=ROUTES, send=[get("/a%00b")], status=200),
    Case(
        id="normalized-bad-escape",
        hcm={"normalize_path": True},
        routes=ROUTES,
        send=in_turn(get("/a%zz"), get("/a%")),
        status=(200, 200),
    ),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("paths")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
