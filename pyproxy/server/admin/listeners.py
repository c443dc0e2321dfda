"""`/listeners`: where the proxy listens, with the ports that the system chose."""

from __future__ import annotations

from typing import Any

from pyproxy.config.address import AddressConfig
from pyproxy.server.admin.endpoint import Endpoint, Parameter, Question, Reply, as_json
from pyproxy.server.proxy import Proxy


async def show_listeners(question: Question) -> Reply:
    """One line or one object per listener; further addresses of the same listener come after the first."""
    listeners = _addresses(question.proxy)
    if question.wants_json:
        return as_json({"listener_statuses": [_status(*item) for item in listeners.items()]} if listeners else {})
    return Reply("".join(f"{name}::{address}\n" for name, found in listeners.items() for address in found))


def address_json(address: AddressConfig) -> dict[str, Any]:
    """envoy.config.core.v3.Address"""
    if address.pipe:
        return {"pipe": {"path": address.pipe}}
    if address.internal:
        found = {"server_listener_name": address.internal}
        return {
            "envoy_internal_address": {**found, **({"endpoint_id": address.endpoint_id} if address.endpoint_id else {})}
        }
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _addresses(proxy: Proxy) -> dict[str, list[AddressConfig]]:
    found: dict[str, list[AddressConfig]] = {}
    for listener in proxy.listeners():
        if listener.internal:
            found[listener.name] = [AddressConfig(internal=listener.name)]
            continue
        addresses = [address for key in listener.socket_keys if (address := proxy.address(key)) is not None]
        if addresses:
            found[listener.name] = addresses
    return found


def _status(name: str, addresses: list[AddressConfig]) -> dict[str, Any]:
    """envoy.admin.v3.ListenerStatus"""
    status: dict[str, Any] = {"name": name, "local_address": address_json(addresses[0])}
    if len(addresses) > 1:
        status["additional_local_addresses"] = [address_json(address) for address in addresses[1:]]
    return status


ENDPOINTS = (
    Endpoint(
        "/listeners",
        "print listener info",
        show_listeners,
        (Parameter("format", "File format to use", ("text", "json")),),
    ),
)
