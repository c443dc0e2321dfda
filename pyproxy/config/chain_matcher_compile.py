"""Compiles the matcher that chooses a filter chain by its name. Envoy: Listener.filter_chain_matcher."""

from __future__ import annotations

from typing import Final

from pyproxy.config.unified_matcher import Matcher
from pyproxy.config.unified_matcher_compile import MatcherCompiler
from pyproxy.config.view import View

_INPUTS: Final = "envoy.extensions.matching.common_inputs.network.v3."
_STRING: Final = "google.protobuf.StringValue"
KNOWN_INPUTS: Final = (
    "ApplicationProtocolInput",
    "DestinationIPInput",
    "DestinationPortInput",
    "DirectSourceIPInput",
    "ServerNameInput",
    "SourceIPInput",
    "SourcePortInput",
    "SourceTypeInput",
    "TransportProtocolInput",
)


def compile_chain_matcher(view: View) -> Matcher | None:
    """Of a `Listener`; None where it has none. Then each chain has to have a name of its own, and no other criteria."""
    found = view.child("filter_chain_matcher")
    if found is None:
        return None
    names: set[str] = set()
    for at, chain in enumerate(view.message.filter_chains):  # type: ignore[attr-defined]
        path = (*view.path, "filter_chains", at)
        if chain.HasField("filter_chain_match"):
            view.report.add((*path, "filter_chain_match"), "stands beside a filter_chain_matcher", expected="none")
        if not chain.name or chain.name in names:
            view.report.add((*path, "name"), "has to be one that no other chain has: the matcher goes by it")
        names.add(chain.name)
    return MatcherCompiler(_input, _chain_name).matcher(found)


def _input(typed: View) -> str:
    name = typed.type_name.removeprefix(_INPUTS)
    if name not in KNOWN_INPUTS:
        typed.fail_unknown("", "input", typed.type_name, (_INPUTS + one for one in KNOWN_INPUTS))
    return name


def _chain_name(typed: View) -> str:
    """That of a chain that is not there takes nothing: the connection is closed (Envoy)."""
    if typed.type_name != _STRING:
        typed.fail("", f"an action of type {typed.type_name} chooses no filter chain", expected=_STRING)
    return typed.text("value")
