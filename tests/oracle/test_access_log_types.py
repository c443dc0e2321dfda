"""Access-log lines of another kind than the one at the end of a request."""

from __future__ import annotations

import pytest

from tests.oracle.bootstrap import file_log
from tests.oracle.case import Case, Json, get, in_turn
from tests.oracle.conftest import Pair


def of_type(id: str, **condition: object) -> Case:  # noqa: A002
    """A log that takes lines of these types only."""
    line = {"log_format": {"text_format_source": {"inline_string": "%ACCESS_LOG_TYPE% %REQ(:path)%\n"}}}
    log: Json = {**file_log(f"{id}.log", **line), "filter": {"log_type_filter": condition}}
    return Case(
        id=id, hcm={"access_log": [log]}, send=in_turn(get("/1"), get("/2")), status=(200, 200), files=[f"{id}.log"]
    )


CASES = [
    of_type("ends-only", types=["DownstreamEnd"]),
    of_type("no-ends", types=["DownstreamEnd"], exclude=True),
    Case(
        id="at-the-start-too",
        hcm={
            "access_log": [
                file_log(
                    "start.log",
                    log_format={
                        "text_format_source": {
                            "inline_string": "%ACCESS_LOG_TYPE% %REQ(:path)% %RESPONSE_CODE% %ROUTE_NAME%\n"
                        }
                    },
                )
            ],
            "access_log_options": {"flush_access_log_on_new_request": True},
        },
        send=[get("/1")],
        status=200,
        logs=2,
        files=["start.log"],
    ),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("access_log_types")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
