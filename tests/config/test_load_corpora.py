"""Configurations as control planes make them: all of them load, but for those with a reason not to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyproxy.config import json_tree, pgv, yaml_tree
from pyproxy.config.descriptors import message_class
from pyproxy.config.fill import Filling
from pyproxy.config.invalid import Fault, InvalidConfig
from pyproxy.config.well_known import packed_any

ROOT = Path(os.environ.get("PYPROXY_CORPORA", "")) / "xds"
BARE = {
    "bare Cluster": "envoy.config.cluster.v3.Cluster",
    "bare Listener": "envoy.config.listener.v3.Listener",
    "bare RouteConfiguration": "envoy.config.route.v3.RouteConfiguration",
    "bare CLA": "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "bootstrap": "envoy.config.bootstrap.v3.Bootstrap",
}

REFUSED = {
    # Placeholders that a program fills in before Envoy sees the file.
    r"does not take the text '\$": "a template",
    r"'CERT_REDACTED'": "a certificate that Envoy's config dump leaves out",
    # Fixtures of merge functions and the like, which Envoy refuses too (tried with 1.40).
    r"unknown field '(a|b|c|custom_field|name|tcp_reporting_duration|reporter|path)' in": "no Envoy configuration",
    r"does not take the text 'action\d'": "no Envoy configuration",
    r"hidden_envoy_deprecated_build_version|envoy\.api\.v2\.": "the v2 API",
    r"^virtual_hosts.*routes.*status\.code: is 444": "a status that Envoy refuses (tried with 1.40)",
    r"status\.code: is 444; expected one of Empty": "a status that Envoy refuses (tried with 1.40)",
    r"match: has no path specifier": "a route that matches nothing, which the rules refuse",
    r"abort\.http_status: is 111": "a status that Envoy refuses (tried with 1.40)",
    r"clusters\[\d+\]\.name: is missing": "a fragment",
    # Newer than the API descriptors that the package is built with.
    r"OAuth2PerRoute|HttpResponseLocalReplyMatchInput": "newer than our descriptors",
    r"unknown field '(remoteAddressMatch|xRatelimitOption|module|grpcService|logName|oobReportingConfig"
    r"|onDownstreamTlsHandshake|cookies)'": "newer than our descriptors",
}

pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="PYPROXY_CORPORA does not name a directory with xds/ in it")


def manifest() -> list[tuple[str, str]]:
    rows = (ROOT / "MANIFEST.tsv").read_text("utf-8").splitlines()[1:]
    return [(row.split("\t")[0], row.split("\t")[2]) for row in rows]


def plain(path: Path) -> Any:
    """The values of a file; None for templates that are not even YAML or JSON yet."""
    text = path.read_text("utf-8")
    try:
        if path.suffix == ".json" or (path.suffix == ".golden" and text.lstrip()[:1] in ("{", "[")):
            return json_tree.load(text, str(path))[0]
        root, _ = yaml_tree.compose(text, str(path))
        plainer = yaml_tree.Plainer(str(path))
        value = plainer.value(root) if root is not None else None
    except InvalidConfig:
        assert "{{" in text or path.suffix == ".tmpl"
        return None
    assert plainer.faults == [] or "{{" in text, plainer.faults
    return None if plainer.faults else value


def messages(value: Any) -> Iterator[dict[str, Any]]:
    """Every outermost mapping that says its type."""
    if isinstance(value, dict):
        if "@type" in value:
            yield value
        else:
            for inner in value.values():
                yield from messages(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from messages(inner)


def faults_of(kind: str, value: Any) -> Iterator[Fault]:
    type_name = BARE.get(kind.removeprefix("list[").removesuffix("]"))
    if type_name is None:
        for packed in messages(value):
            message = message_class("google.protobuf.Any")()
            filling = Filling()
            packed_any(filling, message, packed, ())
            yield from filling.faults or pgv.validate(message)
        return
    for one in value if kind.startswith("list[") else [value]:
        message = message_class(type_name)()
        filling = Filling()
        filling.fields(message, one, ())
        yield from filling.faults or pgv.validate(message)


def test_every_configuration_loads_or_is_refused_for_a_known_reason() -> None:
    surprising: list[str] = []
    good = 0
    for name, kind in manifest():
        value = plain(ROOT / name)
        if value is None:
            continue
        found = list(faults_of(kind, value))
        good += not found
        surprising += [
            f"{name}: {fault}" for fault in found if not any(re.search(known, str(fault)) for known in REFUSED)
        ]
    assert surprising == []
    assert good > 700
