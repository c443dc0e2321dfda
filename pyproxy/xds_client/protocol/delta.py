"""Delta: each request says what is wanted besides, each response what changed (envoy.service.discovery.v3)."""

from __future__ import annotations

from typing import Any

from pyproxy.xds_client.protocol.messages import RefusedResponse, Response, delta_request, delta_resources
from pyproxy.xds_client.protocol.type_state import TypeState
from pyproxy.xds_client.protocol.watch import Watch
from pyproxy.xds_client.subscription import WILDCARD


class DeltaState(TypeState):
    """One type of a delta stream. An answer and a change of what is wanted never share a request: istiod objects."""

    def __init__(self, type_url: str) -> None:
        super().__init__(type_url)
        self._sent: set[str] | None = None
        """What the control plane was told on this stream; None for nothing yet."""

    def connected(self) -> None:
        self._sent = None
        self.verdicts.clear()

    def wants_to_send(self, now: float) -> bool:
        if self.next_answer() <= now:
            return True
        if self._sent is None:
            return bool(self.watches)
        return self._sent != self.told()

    def next_request(self, node: Any, now: float) -> bytes:
        if self._sent is not None and self.next_answer() <= now:
            verdict = self.verdicts.popleft()
            return delta_request(self.type_url, node, nonce=verdict.nonce, refusal=verdict.refusal)
        told, sent = self.told(), self._sent
        self._sent = told
        if sent is None:
            versions = {name: one.version for name, one in self.held.items()}
            # Nothing named means everything, as control planes have always understood it.
            names = () if told == {WILDCARD} else sorted(told)
            return delta_request(self.type_url, node, subscribe=names, versions=versions)
        return delta_request(self.type_url, node, subscribe=sorted(told - sent), unsubscribe=sorted(sent - told))

    def _take(self, response: Response, now: float) -> tuple[dict[Watch, set[str]], dict[str, str]]:
        found, missing = delta_resources(response, self.bodies)
        there = {one.name for one in found}
        if len(there) < len(found):
            twice = next(one.name for at, one in enumerate(found) if one.name in {other.name for other in found[:at]})
            raise RefusedResponse(f"duplicate name {twice} found among added/updated resources")
        both = next((name for name in response.removed if name in there), None)
        if both is not None:
            raise RefusedResponse(f"duplicate name {both} found in the union of added+removed resources")
        resources = self._beat(found, now)
        concerned = self._concerned((*there, *response.removed))
        never_had = [name for name in (*response.removed, *missing) if name not in self.held]
        reasons = self._apply(resources, response.removed, response.version, now)
        self._missing(never_had)
        return concerned, reasons
