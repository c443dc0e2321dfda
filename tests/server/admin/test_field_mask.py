from __future__ import annotations

from typing import Any

import pytest

from pyproxy.server.admin.field_mask import UnusableMask, keep

DUMP = {
    "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump.StaticListener",
    "listener": {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "web",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}},
        "filter_chains": [{"name": "one"}],
    },
    "last_updated": "2026-01-01T00:00:00.000Z",
}
TYPES = {"@type": DUMP["@type"], "listener": {"@type": DUMP["listener"]["@type"]}}  # type: ignore[index]


def with_types(**fields: Any) -> dict[str, Any]:
    return {"@type": DUMP["@type"], "listener": {"@type": TYPES["listener"]["@type"], **fields}}  # type: ignore[index]


@pytest.mark.parametrize(
    ("mask", "kept"),
    [
        ("last_updated", {"@type": DUMP["@type"], "last_updated": DUMP["last_updated"]}),
        ("listener.name", with_types(name="web")),
        ("listener.filter_chains", with_types(filter_chains=[{"name": "one"}])),
        (
            "listener.address.socket_address.port_value,listener.name",
            with_types(address={"socket_address": {"port_value": 80}}, name="web"),
        ),
        ("listener.stat_prefix", with_types()),
        ("listener.default_filter_chain.name", with_types()),
    ],
)
def test_what_a_mask_keeps(mask: str, kept: dict[str, Any]) -> None:
    assert keep(DUMP, mask) == kept


@pytest.mark.parametrize("mask", ["nothing", "listener.nothing", "listener.filter_chains.name", "last_updated.x.y", ""])
def test_what_no_mask_can_be(mask: str) -> None:
    with pytest.raises(UnusableMask):
        keep(DUMP, mask)
