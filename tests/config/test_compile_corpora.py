"""Configurations as control planes make them: each compiles, or is refused for reasons that name what is missing.

`pytest -s` prints how often each reason was given.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.message import Message

from pyproxy.config.any_message import unpack
from pyproxy.config.bootstrap_compile import cluster_names, compile_bootstrap_view
from pyproxy.config.cluster_compile import compile_cluster
from pyproxy.config.descriptors import UnknownType, message_class
from pyproxy.config.extensions import CompileContext
from pyproxy.config.fill import Filling
from pyproxy.config.invalid import Fault, InvalidConfig, Report
from pyproxy.config.listener_compile import compile_listener
from pyproxy.config.route_compile import compile_route_table
from pyproxy.config.view import View
from pyproxy.config.well_known import packed_any
from pyproxy.filters.builtin import EXTENSIONS
from tests.config.test_load_corpora import BARE, manifest, messages, plain

ROOT = Path(os.environ.get("PYPROXY_CORPORA", "")) / "xds"

pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="PYPROXY_CORPORA does not name a directory with xds/ in it")

COMPILERS: Final[dict[str, Callable[[View, CompileContext], object]]] = {
    "envoy.config.bootstrap.v3.Bootstrap": compile_bootstrap_view,
    "envoy.config.cluster.v3.Cluster": compile_cluster,
    "envoy.config.listener.v3.Listener": compile_listener,
    "envoy.config.route.v3.RouteConfiguration": lambda view, context: compile_route_table(
        view, context, validate=False, vhds=True
    ),
}

EXPECTED: Final = re.compile(
    r"""(is|are)\ not\ supported
    | does\ not\ configure\ a\ filter\ that\ is\ supported\ here
    | holds\ no\ load\ balancing\ policy\ that\ is\ supported
    | ^unknown\ type
    # Fragments and mistakes, which Envoy refuses too.
    | ^says\ no\ (routes|path)$
    | ^is\ (empty|required)
    | is\ not\ an\ IP\ address
    | cannot\ be\ opened:\ there\ is\ no\ directory
    | is\ not\ safe\ \(RFC\ 8996\)
    | ^Envoy's\ v2\ API\ is\ gone
    | ^CLUSTER_PROVIDED\ is\ for\ clusters\ that\ choose\ themselves
    | has\ no\ certificate,\ and\ a\ server\ needs\ one
    # Certificates that the files only speak of.
    | cannot\ be\ read:\ No\ such\ file
    | ^holds\ no\ certificate\ in\ PEM
    | ^the\ environment\ has\ no\ variable
    | ^OpenSSL\ does\ not\ know\ all\ of\ ECDHE-  # ciphers in the place of curves
    | stands\ in\ the\ virtual\ host\ .*\ already
    | ^is\ for\ IPv6\ addresses""",
    re.VERBOSE,
)


def resources() -> Iterator[tuple[str, Message]]:
    """Every bootstrap, listener, route table and cluster, with the file that it stands in."""
    for name, kind in manifest():
        value = plain(ROOT / name)
        type_name = BARE.get(kind.removeprefix("list[").removesuffix("]"))
        if value is None:
            continue
        if type_name is None:
            found = map(packed, messages(value))
        else:
            found = (filled(type_name, one) for one in (value if kind.startswith("list[") else [value]))
        yield from ((name, message) for message in found if message is not None)


def filled(type_name: str, value: Any) -> Message | None:
    message = message_class(type_name)()
    filling = Filling()
    filling.fields(message, value, ())
    return None if filling.faults else message


def packed(value: dict[str, Any]) -> Message | None:
    message = message_class("google.protobuf.Any")()
    filling = Filling()
    packed_any(filling, message, value, ())
    if filling.faults:
        return None
    try:
        return unpack(message)
    except (UnknownType, InvalidConfig):
        return None


def faults_of(message: Message) -> list[Fault]:
    report = Report()
    type_name = message.DESCRIPTOR.full_name
    clusters = cluster_names(message) if type_name.endswith(".Bootstrap") else None
    try:
        COMPILERS[type_name](View(message, (), report), CompileContext(EXTENSIONS, clusters))
    except InvalidConfig as error:
        report.faults.extend(error.faults)
    return report.faults


def test_every_resource_compiles_or_is_refused_by_name() -> None:
    reasons: Counter[str] = Counter()
    fine: Counter[str] = Counter()
    surprising: list[str] = []
    for name, message in resources():
        type_name = message.DESCRIPTOR.full_name
        if type_name not in COMPILERS:
            continue
        faults = faults_of(message)
        fine[type_name] += not faults
        reasons.update({re.sub(r"'[^']*'", "'...'", fault.reason) for fault in faults})
        surprising += [f"{name}: {fault}" for fault in faults if not EXPECTED.search(fault.reason)]
    print("\n".join(f"{count:5} {reason}" for reason, count in reasons.most_common()))
    print(dict(fine))
    assert surprising == []
    assert fine["envoy.config.route.v3.RouteConfiguration"] >= 80
    assert fine["envoy.config.cluster.v3.Cluster"] >= 90
    assert fine["envoy.config.listener.v3.Listener"] >= 30
