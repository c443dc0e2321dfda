from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.unified_matcher import ExactMap, OnMatch
from tests.config.compiling import bootstrap, compiled, listener, manager

INPUT = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput"
STRING = "type.googleapis.com/google.protobuf.StringValue"


def go(name: str, **more: Any) -> dict[str, Any]:
    return {"action": {"name": "n", "typed_config": {"@type": STRING, "value": name}}, **more}


def by_port(**ports: dict[str, Any]) -> dict[str, Any]:
    source = {"name": "port", "typed_config": {"@type": INPUT}}
    values = {name.removeprefix("p"): then for name, then in ports.items()}
    return {"matcher_tree": {"input": source, "exact_match_map": {"map": values}}}


def chain(name: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "filters": [{"name": "hcm", "typed_config": manager()}], **more}


def test_a_matcher_goes_by_names() -> None:
    chains = [chain("a"), chain("b")]
    values, faults, _ = compiled(bootstrap([listener(filter_chains=chains, filter_chain_matcher=by_port(p80=go("a")))]))
    assert values is not None, faults
    assert values.listeners[0].chain_matcher == ExactMap("DestinationPortInput", {"80": OnMatch("a")})


WRONG_INPUT = by_port(p80=go("a"))
WRONG_INPUT["matcher_tree"]["input"]["typed_config"] = {"@type": STRING, "value": "x"}


@pytest.mark.parametrize(
    ("chains", "matcher", "fault"),
    [
        (
            [chain("a"), chain("a")],
            by_port(p80=go("a")),
            "filter_chains[1].name: has to be one that no other chain has",
        ),
        ([chain()], by_port(p80=go("a")), "filter_chains[0].name: has to be one"),
        (
            [chain("a", filter_chain_match={"destination_port": 1})],
            by_port(p80=go("a")),
            "stands beside a filter_chain_matcher",
        ),
        ([chain("a")], by_port(p80=go("a", keep_matching=True)), "keep_matching: is of no use"),
        ([chain("a")], WRONG_INPUT, "unknown input 'google.protobuf.StringValue'"),
    ],
)
def test_what_cannot_be_is_a_fault(chains: list[Any], matcher: dict[str, Any], fault: str) -> None:
    _, faults, _ = compiled(bootstrap([listener(filter_chains=chains, filter_chain_matcher=matcher)]))
    assert any(fault in one for one in faults), faults
